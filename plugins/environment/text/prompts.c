/* prompts - one-turn text from a data file: a record's prompt is answered once.
 *
 * Records with the same prompt are merged into one task with several references. A share of the
 * prompts can be held out for evaluation, chosen by a hash of the prompt, so that the same prompts
 * are held out whatever the seed, the order or the rest of the file. Values of "slot[value]"
 * meaning representations can be delexicalised (Wen et al. 2015, EMNLP): the value is replaced by
 * "X-slot" in the prompt and in the references.
 *
 * A reward needs no reference: `unanswered` adds prompts that nobody has answered, which are shown
 * where the policy answers itself and not where it learns from given answers, nor in evaluation.
 */
#include <ctype.h>
#include <mete/environment.h>
#include <mete/text.h>
#include <string.h>

#define MOST_SLOTS 16

struct prompts {
    const mete_table *data, *unanswered;
    const char *prompt, *reference;
    mete_strings delexicalise, hidden;
    double holdout;
    int64_t shuffle;

    uint32_t *train, *held;        /* task numbers; in train those of `unanswered` come last */
    size_t trains, helds, answers; /* answers: those of train that are of `data` */
    struct task *task;
    size_t tasks;
    int *column; /* [fields] handle of each provided field, or -1 */
    int references;
    uint64_t key;
    struct lane {
        uint32_t task;
        uint8_t evaluation, counted;
    } * lane;
    size_t lanes;
};

struct task {
    mete_text prompt;
    uint64_t id;
    const mete_table *table;
    size_t row;           /* of its first record there */
    mete_text *reference; /* [references] */
    size_t references, room;
};

static const mete_option options[] = {
    METE_DATA(struct prompts, data, METE_REQUIRED, "the records: JSONL, CSV or TSV, plain or gzip"),
    METE_STRING(struct prompts, prompt, "prompt", 0, "field that holds the prompt"),
    METE_STRING(struct prompts, reference, "reference", 0,
                "field that holds a reference answer, or a JSON list of them; may be absent"),
    METE_DATA(struct prompts, unanswered, 0,
              "prompts without references, to train on where the policy answers itself"),
    METE_STRINGS(struct prompts, hidden, 0,
                 "other fields that rewards may see and the policy may not"),
    METE_STRINGS(struct prompts, delexicalise, 0,
                 "slots of a \"slot[value], ...\" prompt whose values become X-slot"),
    {.name = "holdout",
     .type = METE_OPTION_REAL,
     .offset = offsetof(struct prompts, holdout),
     .min = 0,
     .max = 0.9,
     .help = "share of the prompts kept for evaluation"},
    METE_INT(struct prompts, shuffle, 1, 0, 1, "1: a new order each epoch; 0: the file's order"),
    METE_OPTIONS_END};

/* ---- delexicalising -------------------------------------------------------------------------- */

/* All slots of the text, at most MOST_SLOTS; returns how many. */
static size_t
parse_slots(mete_text text, mete_slot *slot)
{
    size_t count = 0, at = 0;
    while (count < MOST_SLOTS && mete_slot_next(text, &at, &slot[count]))
        count++;
    return count;
}

static int
is_delexicalised(const struct prompts *p, mete_text name)
{
    for (size_t i = 0; i < p->delexicalise.count; i++)
        if (strlen(p->delexicalise.item[i]) == name.length &&
            memcmp(p->delexicalise.item[i], name.data, name.length) == 0)
            return 1;
    return 0;
}

static size_t
write_placeholder(mete_text name, char *to)
{
    to[0] = 'X';
    to[1] = '-';
    for (size_t i = 0; i < name.length; i++)
        to[2 + i] = (char)tolower((unsigned char)name.data[i]);
    return 2 + name.length;
}

static int
is_word(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* `value` stands at text[at..] as whole words, whatever its case. */
static int
stands_at(mete_text text, size_t at, mete_text value)
{
    if (value.length == 0 || text.length - at < value.length)
        return 0;
    for (size_t i = 0; i < value.length; i++)
        if (tolower((unsigned char)text.data[at + i]) != tolower((unsigned char)value.data[i]))
            return 0;
    size_t end = at + value.length;
    return (at == 0 || !is_word(text.data[at - 1])) &&
           (end == text.length || !is_word(text.data[end]));
}

/* The text with every delexicalised value replaced; at most (2 + name) bytes for each of value's.
 * */
static mete_text
replace_values(mete_ctx *cx, const struct prompts *p, mete_text text, const mete_slot *slot,
               size_t slots)
{
    size_t longest = 1;
    for (size_t k = 0; k < slots; k++)
        if (slot[k].name.length + 2 > longest)
            longest = slot[k].name.length + 2;
    char *to = mete_alloc(cx, text.length * longest + 1);
    mete_text out = {to, 0};
    for (size_t at = 0; to && at < text.length;) {
        size_t k = 0;
        while (k < slots &&
               !(is_delexicalised(p, slot[k].name) && stands_at(text, at, slot[k].value)))
            k++;
        if (k == slots) {
            to[out.length++] = text.data[at++];
        } else {
            out.length += write_placeholder(slot[k].name, to + out.length);
            at += slot[k].value.length;
        }
    }
    return out;
}

static mete_text
delexicalise_prompt(mete_ctx *cx, const struct prompts *p, const mete_slot *slot, size_t slots,
                    size_t most)
{
    char *to = mete_alloc(cx, 2 * most + 64 * MOST_SLOTS);
    mete_text out = {to, 0};
    for (size_t k = 0; to && k < slots; k++) {
        if (k) {
            to[out.length++] = ',';
            to[out.length++] = ' ';
        }
        memcpy(to + out.length, slot[k].name.data, slot[k].name.length);
        out.length += slot[k].name.length;
        to[out.length++] = '[';
        if (is_delexicalised(p, slot[k].name)) {
            out.length += write_placeholder(slot[k].name, to + out.length);
        } else {
            memcpy(to + out.length, slot[k].value.data, slot[k].value.length);
            out.length += slot[k].value.length;
        }
        to[out.length++] = ']';
    }
    return out;
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static int
add_reference(mete_ctx *cx, struct task *task, mete_text text)
{
    if (task->references == task->room) {
        size_t room = task->room ? 2 * task->room : 4;
        mete_text *grown = mete_alloc(cx, room * sizeof *grown);
        if (!grown)
            return mete_fail(cx, METE_ENOMEM, "out of memory for references");
        if (task->references)
            memcpy(grown, task->reference, task->references * sizeof *grown);
        task->reference = grown;
        task->room = room;
    }
    task->reference[task->references++] = text;
    return METE_OK;
}

static int
add_references(mete_ctx *cx, struct prompts *p, struct task *task, mete_text value, int is_list,
               const mete_slot *slot, size_t slots)
{
    int status = METE_OK;
    if (!is_list) {
        mete_text text = p->delexicalise.count ? replace_values(cx, p, value, slot, slots) : value;
        return text.data ? add_reference(cx, task, text)
                         : mete_fail(cx, METE_ENOMEM, "out of memory");
    }
    mete_error err = {0};
    mete_json *list = mete_json_parse(value, &err);
    if (!list)
        return mete_fail(cx, METE_EDATA, "field '%s': %s", p->reference, err.message);
    for (const mete_json *at = mete_json_first(list); at && !status; at = mete_json_next(at)) {
        mete_text item = mete_json_text(at);
        if (!item.data)
            continue;
        char *own = mete_alloc(cx, item.length + 1);
        if (own)
            memcpy(own, item.data, item.length);
        status = own ? add_references(cx, p, task, (mete_text){own, item.length}, 0, slot, slots)
                     : mete_fail(cx, METE_ENOMEM, "out of memory");
    }
    mete_json_free(list);
    return status;
}

/* Finds the task of a prompt in an open-addressed table of task numbers + 1. */
static size_t
find_task(const struct prompts *p, uint32_t *table, size_t room, mete_text prompt, uint64_t id)
{
    size_t at = (size_t)id & (room - 1);
    for (; table[at]; at = (at + 1) & (room - 1)) {
        const struct task *task = &p->task[table[at] - 1];
        if (task->id == id && task->prompt.length == prompt.length &&
            memcmp(task->prompt.data, prompt.data, prompt.length) == 0)
            break;
    }
    return at;
}

/* The records of one table as tasks, new ones where their prompt is. */
static int
add_tasks(mete_ctx *cx, struct prompts *p, const mete_table *data, uint32_t *table, size_t room)
{
    const mete_text *prompt = mete_table_text(data, p->prompt);
    const mete_text *reference = data == p->data ? mete_table_text(data, p->reference) : NULL;
    const uint8_t *element = NULL;
    if (!prompt)
        return mete_fail(cx, METE_EDATA, "%s has no field '%s'; set `prompt` or data.map",
                         data->file, p->prompt);
    for (uint32_t i = 0; i < data->fields; i++)
        if (strcmp(data->name[i], p->reference) == 0)
            element = data->element[i];
    for (size_t row = 0; row < data->rows; row++) {
        mete_slot slot[MOST_SLOTS];
        mete_text text = prompt[row];
        if (!text.data)
            return mete_fail(cx, METE_EDATA, "%s:%llu: the record has no field '%s'", data->file,
                             (unsigned long long)data->line[row], p->prompt);
        size_t slots = p->delexicalise.count ? parse_slots(text, slot) : 0;
        if (slots)
            text = delexicalise_prompt(cx, p, slot, slots, text.length);
        uint64_t id = mete_hash(0, text.data, text.length);
        size_t at = find_task(p, table, room, text, id);
        if (!table[at]) {
            p->task[p->tasks] = (struct task){.prompt = text, .id = id, .table = data, .row = row};
            table[at] = (uint32_t)++p->tasks;
        }
        if (reference && reference[row].data) {
            int list =
                element[row] == METE_JSON && reference[row].length && reference[row].data[0] == '[';
            int status =
                add_references(cx, p, &p->task[table[at] - 1], reference[row], list, slot, slots);
            if (status)
                return status;
        }
    }
    return METE_OK;
}

static int
make_tasks(mete_ctx *cx, struct prompts *p)
{
    size_t rows = p->data->rows + (p->unanswered ? p->unanswered->rows : 0), room = 64;
    while (room < 2 * rows)
        room *= 2;
    uint32_t *table = mete_arena(cx, room * sizeof *table);
    p->task = mete_alloc(cx, (rows + 1) * sizeof *p->task);
    if (!table || !p->task)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu prompts", rows);
    int status = add_tasks(cx, p, p->data, table, room);
    return status || !p->unanswered ? status : add_tasks(cx, p, p->unanswered, table, room);
}

static int
split_tasks(mete_ctx *cx, struct prompts *p)
{
    p->train = mete_alloc(cx, (p->tasks + 1) * sizeof *p->train);
    p->held = mete_alloc(cx, (p->tasks + 1) * sizeof *p->held);
    if (!p->train || !p->held)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu prompts", p->tasks);
    for (size_t i = 0; i < p->tasks; i++) {
        double u = (double)(mete_hash_mix(p->task[i].id, 7) >> 11) * 0x1p-53;
        int answered = p->task[i].table == p->data;
        if (u >= p->holdout)
            p->train[p->trains++] = (uint32_t)i;
        else if (answered)
            p->held[p->helds++] = (uint32_t)i;
        p->answers += u >= p->holdout && answered;
    }
    if (!p->answers)
        return mete_fail(cx, METE_EDATA, "%s has no prompts to train on", p->data->file);
    if (!p->helds) { /* nothing held out: evaluation sees the training prompts */
        memcpy(p->held, p->train, p->answers * sizeof *p->held);
        p->helds = p->answers;
    }
    return METE_OK;
}

static int
open_prompts(mete_ctx *cx, void *self)
{
    struct prompts *p = self;
    int status = make_tasks(cx, p);
    if (status)
        return status;
    if ((status = split_tasks(cx, p)))
        return status;
    p->key = mete_key(cx);
    p->column = mete_alloc(cx, (p->data->fields + 1) * sizeof *p->column);
    if (!p->column)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (uint32_t i = 0; i < p->data->fields; i++) {
        const char *name = p->data->name[i];
        mete_visible visible = METE_SEE_POLICY;
        for (size_t k = 0; k < p->hidden.count; k++)
            if (strcmp(p->hidden.item[k], name) == 0)
                visible = METE_SEE_REWARD;
        p->column[i] = -1;
        if (strcmp(name, p->reference) == 0 || strcmp(name, "response") == 0)
            continue;
        p->column[i] =
            mete_provide(cx, name, METE_EPISODE, METE_TEXT, visible, "a field of the record");
        if (p->column[i] < 0)
            return p->column[i];
    }
    p->references = mete_provide(cx, "reference", METE_LIST, METE_TEXT, METE_SEE_REWARD,
                                 "reference answers of the prompt");
    return p->references < 0 ? p->references : METE_OK;
}

/* ---- lanes ----------------------------------------------------------------------------------- */

static int
spaces(mete_ctx *cx, void *self, size_t lanes, mete_spaces *out)
{
    struct prompts *p = self;
    p->lane = mete_alloc(cx, lanes * sizeof *p->lane);
    if (!p->lane)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", lanes);
    p->lanes = lanes;
    out->single_turn = 1;
    out->observation.kind = METE_SPACE_TEXT;
    out->action.kind = METE_SPACE_TEXT;
    out->max_steps = 1;
    out->tasks = p->answers;
    return METE_OK;
}

/* A lane shows a task. */
static int
show_task(mete_ctx *cx, const struct prompts *p, size_t lane, const struct task *task,
          mete_observations *out)
{
    out->prompt[lane] = task->prompt;
    out->prompt_id[lane] = task->id;
    for (uint32_t i = 0; i < p->data->fields; i++) {
        if (p->column[i] < 0)
            continue;
        mete_text *column = mete_lane_column(out, p->column[i]);
        int is_prompt = strcmp(p->data->name[i], p->prompt) == 0;
        column[lane] = is_prompt                ? task->prompt
                       : task->table == p->data ? p->data->value[i][task->row]
                                                : (mete_text){NULL, 0};
    }
    return mete_lane_list(cx, out, p->references, lane, task->reference, task->references);
}

static int
show(mete_ctx *cx, struct prompts *p, size_t lane, uint64_t number, mete_observations *out)
{
    struct lane *at = &p->lane[lane];
    size_t count = at->evaluation ? p->helds : at->counted ? p->answers : p->trains;
    const uint32_t *list = at->evaluation ? p->held : p->train;
    at->task = list[mete_task_record(p->key, number, count, p->shuffle && !at->evaluation)];
    return show_task(cx, p, lane, &p->task[at->task], out);
}

static int
reset(mete_ctx *cx, void *self, const mete_reset *in, mete_observations *out)
{
    struct prompts *p = self;
    for (size_t k = 0; k < in->count; k++) {
        size_t lane = in->lane[k];
        if (lane >= p->lanes)
            return mete_fail(cx, METE_EPLUGIN, "lane %zu of %zu", lane, p->lanes);
        p->lane[lane].evaluation = in->evaluation != 0;
        p->lane[lane].counted = in->counted != 0;
        int status = show(cx, p, lane, in->task[k], out);
        if (status)
            return status;
    }
    return METE_OK;
}

static int
step(mete_ctx *cx, void *self, const mete_actions *in, mete_transitions *out)
{
    struct prompts *p = self;
    (void)in; /* an answer ends the episode, whatever it says: rewards judge it */
    for (size_t lane = 0; lane < p->lanes; lane++) {
        out->terminated[lane] = 1;
        out->episode[lane] += out->stride;
        out->task[lane] += out->task_stride;
        int status = show(cx, p, lane, out->task[lane], out->next);
        if (status)
            return status;
    }
    return METE_OK;
}

static int
copy(mete_ctx *cx, const void *self, size_t lane, void *bytes)
{
    const struct prompts *p = self;
    (void)cx;
    memcpy(bytes, &p->lane[lane], sizeof p->lane[lane]);
    return METE_OK;
}

static int
restore(mete_ctx *cx, void *self, size_t lane, const void *bytes, mete_observations *out)
{
    struct prompts *p = self;
    struct lane at;
    memcpy(&at, bytes, sizeof at);
    if (at.task >= p->tasks)
        return mete_fail(cx, METE_EDATA, "a saved lane names prompt %u of %zu", at.task, p->tasks);
    p->lane[lane] = at;
    return show_task(cx, p, lane, &p->task[at.task], out);
}

METE_ENVIRONMENT_PLUGIN(
    prompts, "1.0", "prompts from a file, each answered once",
    .doc =
        "Every distinct value of the prompt field is one task; the references of all its records\n"
        "are the list column `reference`, which rewards see and the policy does not. All other\n"
        "fields are text columns of their own name. With holdout > 0 that share of the prompts,\n"
        "chosen by a hash of the (delexicalised) prompt, is kept for evaluation. Prompts of\n"
        "`unanswered` that would be held out by that hash are left out; a block `tasks` draws "
        "from\n"
        "`data` alone.",
    .reference = "delexicalisation: Wen et al. 2015, EMNLP, arXiv:1508.01745", .options = options,
    .state_size = sizeof(struct prompts), .lane_size = sizeof(struct lane), .open = open_prompts,
    .spaces = spaces, .reset = reset, .step = step, .copy = copy, .restore = restore);
