/* scorer.c - mete.h over lanes; see scorer.h. */
#include "score/scorer.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct mete_scorer {
    pthread_mutex_t lock;
    pthread_cond_t given;
    mete__lane *lane; /* [lanes] */
    size_t lanes;
    mete__lane *idle; /* a list */
    char *label;      /* mete_label_name */
};

/* ---- lanes ----------------------------------------------------------------------------------- */

static bool
open_lane(mete__lane *lane, const char *path, const char *const *set, size_t sets,
          const mete__engine_options *options, mete__errors *errors)
{
    lane->config = mete__config_read(path, set, sets, errors);
    if (!lane->config || errors->count)
        return false;
    return mete__scoring_open(&lane->scoring, lane->config, path, options, true, errors);
}

mete_scorer *
mete__scorer_open(const char *path, const char *const *set, size_t sets, unsigned lanes,
                  const mete__engine_options *options, mete__errors *errors)
{
    mete_scorer *scorer = calloc(1, sizeof *scorer);
    if (scorer)
        scorer->lane = calloc(lanes, sizeof *scorer->lane);
    if (!scorer || !scorer->lane) {
        mete__errors_add(errors, "out of memory");
        free(scorer);
        return NULL;
    }
    pthread_mutex_init(&scorer->lock, NULL);
    pthread_cond_init(&scorer->given, NULL);
    while (scorer->lanes < lanes && !errors->count) {
        mete__lane *lane = &scorer->lane[scorer->lanes++];
        if (open_lane(lane, path, set, sets, options, errors))
            mete__scorer_give(scorer, lane);
    }
    if (!errors->count) {
        const mete__rows *rows = mete__scorer_rows(scorer);
        mete_text only = rows->wanteds == 1 ? rows->wanted[0].from : mete_text_from("label");
        scorer->label = strndup(only.data, only.length);
        if (scorer->label)
            return scorer;
        mete__errors_add(errors, "out of memory");
    }
    mete_close(scorer);
    return NULL;
}

void
mete_close(mete_scorer *scorer)
{
    if (!scorer)
        return;
    for (size_t i = 0; i < scorer->lanes; i++) {
        mete__scoring_close(&scorer->lane[i].scoring);
        mete__items_free(&scorer->lane[i].items);
        if (scorer->lane[i].config)
            mete__config_free(scorer->lane[i].config);
    }
    pthread_mutex_destroy(&scorer->lock);
    pthread_cond_destroy(&scorer->given);
    free(scorer->lane);
    free(scorer->label);
    free(scorer);
}

mete__lane *
mete__scorer_take(mete_scorer *scorer, bool wait)
{
    pthread_mutex_lock(&scorer->lock);
    while (!scorer->idle && wait)
        pthread_cond_wait(&scorer->given, &scorer->lock);
    mete__lane *lane = scorer->idle;
    if (lane)
        scorer->idle = lane->next;
    pthread_mutex_unlock(&scorer->lock);
    return lane;
}

void
mete__scorer_give(mete_scorer *scorer, mete__lane *lane)
{
    pthread_mutex_lock(&scorer->lock);
    lane->next = scorer->idle;
    scorer->idle = lane;
    pthread_cond_signal(&scorer->given);
    pthread_mutex_unlock(&scorer->lock);
}

unsigned
mete__scorer_flags(const mete_scorer *scorer)
{
    size_t count;
    unsigned flags = 0;
    mete_node *const *node = mete__engine_nodes(scorer->lane->scoring.engine, &count);
    for (size_t i = 0; i < count; i++)
        flags |= node[i]->plugin ? node[i]->plugin->as.head.flags : 0;
    return flags;
}

bool
mete__scorer_asks(const mete_scorer *scorer)
{
    size_t count;
    mete_node *const *node = mete__engine_nodes(scorer->lane->scoring.engine, &count);
    for (size_t i = 0; i < count; i++)
        if (node[i]->plugin && node[i]->kind == METE_KIND_POLICY)
            return true;
    return false;
}

mete__engine *
mete__scorer_engine(const mete_scorer *scorer)
{
    return scorer->lane->scoring.engine;
}

const mete__report_sum *
mete__scorer_sum(const mete_scorer *scorer)
{
    return &scorer->lane->scoring.sum;
}

const mete__rows *
mete__scorer_rows(const mete_scorer *scorer)
{
    return scorer->lane->scoring.rows;
}

mete__config *
mete__scorer_config(const mete_scorer *scorer)
{
    return scorer->lane->config;
}

/* ---- results --------------------------------------------------------------------------------- */

typedef struct holder {
    mete_results results;
    mete__arena *arena;
} holder;

static const char *
copy(mete__arena *arena, const char *text)
{
    const char *kept = *text ? mete__arena_string(arena, text, strlen(text)) : "";
    return kept ? kept : "out of memory";
}

/* The value and status of one node, by record. */
static void
take_node(const mete__scoring *scoring, const mete__shown *shown, double *value, uint8_t *status)
{
    for (size_t i = 0; i < scoring->sum.slots; i++) {
        uint32_t row = scoring->sum.row[i];
        bool bad = row == UINT32_MAX;
        status[i] = bad              ? METE_FAILED
                    : !shown->scores ? METE_NOT_APPLICABLE
                                     : shown->scores->status[row];
        value[i] = status[i] == METE_VALID ? shown->scores->episode[row] : NAN;
    }
}

static void
take_root(const mete__scoring *scoring, mete__arena *arena, double *spread, const char **reason,
          const uint8_t *status)
{
    const mete__shown *root = &scoring->sum.shown[0];
    for (size_t i = 0; i < scoring->sum.slots; i++) {
        uint32_t row = scoring->sum.row[i];
        bool bad = row == UINT32_MAX;
        spread[i] = !bad && status[i] == METE_VALID && root->scores->spread
                        ? root->scores->spread[row]
                        : NAN;
        reason[i] = bad                       ? copy(arena, scoring->rows->bad[i])
                    : status[i] == METE_VALID ? ""
                                              : copy(arena, mete__node_reason(root->node, row));
    }
}

static mete_results *
take_results(const mete__scoring *scoring, size_t count)
{
    holder *held = calloc(1, sizeof *held);
    mete__arena *arena = held ? mete__arena_new() : NULL;
    if (!arena) {
        free(held);
        return NULL;
    }
    size_t nodes = scoring->sum.showns - 1;
    double *value = mete__arena_take(arena, (nodes + 2) * count * sizeof *value);
    uint8_t *status = mete__arena_take(arena, (nodes + 1) * count);
    const char **reason = mete__arena_take(arena, (count + nodes) * sizeof *reason);
    if (!value || !status || !reason || scoring->sum.slots != count) {
        mete__arena_free(arena);
        free(held);
        return NULL;
    }
    for (size_t k = 0; k <= nodes; k++)
        take_node(scoring, &scoring->sum.shown[k], value + k * count, status + k * count);
    take_root(scoring, arena, value + (nodes + 1) * count, reason, status);
    for (size_t k = 0; k < nodes; k++)
        reason[count + k] = copy(arena, scoring->sum.shown[k + 1].name);
    held->arena = arena;
    held->results = (mete_results){.size = sizeof held->results,
                                   .components = (uint32_t)nodes,
                                   .count = count,
                                   .reward = value,
                                   .spread = value + (nodes + 1) * count,
                                   .status = status,
                                   .reason = reason,
                                   .name = reason + count,
                                   .component = value + count,
                                   .component_status = status + count};
    return &held->results;
}

void
mete_results_free(mete_results *results)
{
    holder *held = (holder *)(void *)results;
    if (!held)
        return;
    mete__arena_free(held->arena);
    free(held);
}

/* ---- records --------------------------------------------------------------------------------- */

/* A cell's value as a field; false: it is no JSON. */
static bool
read_cell(mete__lane *lane, const mete_cell *cell, mete__field *field)
{
    *field = (mete__field){.key = mete_text_from(cell->name),
                           .text = cell->value,
                           .number = NAN,
                           .type = METE_JSON_STRING};
    if (cell->element != METE_JSON)
        return true;
    mete_buffer whole = {0};
    mete__arena *arena = lane->scoring.part[0].arena;
    mete_buffer_format(&whole, "[%.*s]", (int)cell->value.length, cell->value.data);
    char *kept = mete__arena_string(arena, whole.data ? whole.data : "", whole.length);
    mete_text array = {kept, whole.length};
    mete_buffer_free(&whole);
    if (!kept || mete__json_check(array, NULL) || mete__items_begin(&lane->items, array, NULL) ||
        mete__items_next(&lane->items, field, NULL) != 1 || lane->items.more)
        return false;
    field->key = mete_text_from(cell->name);
    if (field->type == METE_JSON_STRING) { /* decoded text lasts until the next array */
        kept = mete__arena_string(arena, field->text.data, field->text.length);
        field->text.data = kept ? kept : "";
    }
    return kept != NULL;
}

static void
take_record(mete__lane *lane, size_t slot, const mete_record *record)
{
    mete__scoring *scoring = &lane->scoring;
    mete__rows *rows = scoring->rows;
    mete__part *part = &scoring->part[0];
    size_t room = record->cells + (size_t)3;
    mete__field *field = mete__arena_take(part->arena, room * sizeof *field);
    /* dotted paths into its values are walked with the part's scanner */
    bool ready = part->record.scan || !mete__record_parse(&part->record, "{}", 2, NULL);
    mete__record made = {.field = field, .scan = part->record.scan};
    rows->id_json[slot] = (mete_text){NULL, 0};
    if (!field || !ready) {
        mete__rows_bad(rows, slot, part, "out of memory");
        return;
    }
    const struct {
        mete_text key, text;
    } own[] = {{rows->prompt_from, record->prompt},
               {rows->response_from, record->response},
               {rows->group_from, record->group}};
    for (size_t i = 0; i < (record->group.length ? 3 : 2); i++)
        field[made.fields++] = (mete__field){
            .key = own[i].key, .text = own[i].text, .number = NAN, .type = METE_JSON_STRING};
    for (size_t i = 0; i < 2; i++)
        if (record->flags & (i ? METE_RESPONSE_JSON : METE_PROMPT_JSON)) {
            mete_cell json = {"", own[i].text, METE_JSON};
            if (!read_cell(lane, &json, &field[i])) {
                mete__rows_bad(rows, slot, part,
                               i ? "the response is no JSON" : "the prompt is no JSON");
                return;
            }
            field[i].key = own[i].key;
        }
    for (size_t i = 0; i < record->cells; i++)
        if (!read_cell(lane, &record->cell[i], &field[made.fields++])) {
            char reason[200];
            snprintf(reason, sizeof reason, "the value of \"%.99s\" is no JSON",
                     record->cell[i].name);
            mete__rows_bad(rows, slot, part, reason);
            return;
        }
    mete__rows_take(rows, slot, part, &made, (mete_text){NULL, 0});
}

/* Scores what was taken; gives the lane back. */
static int
finish(mete_scorer *scorer, mete__lane *lane, size_t count, mete_results **results, mete_error *err)
{
    int status = mete__scoring_run(&lane->scoring, count, err);
    if (!status && !(*results = take_results(&lane->scoring, count)))
        status = mete_error_set(err, METE_ENOMEM, "out of memory");
    mete__engine_reset(lane->scoring.engine);
    mete__scorer_give(scorer, lane);
    return status;
}

int
mete_score(mete_scorer *scorer, const mete_record *record, size_t count, mete_results **results,
           mete_error *err)
{
    *results = NULL;
    mete__lane *lane = mete__scorer_take(scorer, true);
    if (!mete__scoring_begin(&lane->scoring, count, 1)) {
        mete__scorer_give(scorer, lane);
        return mete_error_set(err, METE_ENOMEM, "out of memory for %zu records", count);
    }
    const char *at = (const char *)(const void *)record;
    for (size_t i = 0; i < count; i++) {
        mete_record own = {0}; /* the caller's record may be of another minor version */
        uint32_t size;
        memcpy(&size, at, sizeof size);
        memcpy(&own, at, size < sizeof own ? size : sizeof own);
        take_record(lane, i, &own);
        at += size;
    }
    return finish(scorer, lane, count, results, err);
}

/* ---- columns --------------------------------------------------------------------------------- */

static mete_text
value_at(const mete_values *values, size_t i)
{
    uint64_t begin = values->offset[i];
    return (mete_text){values->bytes + begin, values->offset[i + 1] - begin};
}

static uint32_t
element_at(const mete_values *values, size_t i)
{
    return values->element ? values->element[i] : METE_TEXT;
}

/* What names the prompt of record i among its neighbours: a new text where it differs from the one
 * before. */
static mete_text
group_at(mete__arena *arena, const mete_values *prompt, size_t i, mete_text before)
{
    mete_text now = value_at(prompt, i);
    mete_text last = i ? value_at(prompt, i - 1) : (mete_text){NULL, 0};
    if (i && now.length == last.length && memcmp(now.data, last.data, now.length) == 0)
        return before;
    char name[24];
    int length = snprintf(name, sizeof name, "%zu", i);
    return (mete_text){mete__arena_string(arena, name, (size_t)length), (size_t)length};
}

static size_t
take_cells(const mete_values *column, size_t columns, size_t i, mete_cell *cell)
{
    size_t cells = 0;
    for (size_t k = 0; k < columns; k++) {
        uint32_t element = element_at(&column[k], i);
        if (element != METE_ABSENT)
            cell[cells++] = (mete_cell){column[k].name, value_at(&column[k], i), element};
    }
    return cells;
}

int
mete_score_columns(mete_scorer *scorer, const mete_values *prompt, const mete_values *response,
                   const mete_values *column, size_t columns, size_t count, mete_results **results,
                   mete_error *err)
{
    *results = NULL;
    mete__lane *lane = mete__scorer_take(scorer, true);
    mete__arena *arena = lane->scoring.part[0].arena;
    bool ready = mete__scoring_begin(&lane->scoring, count, 1);
    mete_cell *cell = ready ? mete__arena_take(arena, (columns + 1) * sizeof *cell) : NULL;
    if (!cell) {
        mete__scorer_give(scorer, lane);
        return mete_error_set(err, METE_ENOMEM, "out of memory for %zu records", count);
    }
    mete_text group = {NULL, 0};
    for (size_t i = 0; i < count; i++) {
        mete_record record = {.size = sizeof record, .response = value_at(response, i)};
        record.flags = element_at(response, i) == METE_JSON ? METE_RESPONSE_JSON : 0;
        if (prompt) {
            record.prompt = value_at(prompt, i);
            record.group = group = group_at(arena, prompt, i, group);
            record.flags |= element_at(prompt, i) == METE_JSON ? METE_PROMPT_JSON : 0;
        }
        record.cell = cell;
        record.cells = (uint32_t)take_cells(column, columns, i, cell);
        take_record(lane, i, &record);
    }
    return finish(scorer, lane, count, results, err);
}

/* ---- records in JSON ------------------------------------------------------------------------- */

/* The texts of the records, each an object: elements of an array, or lines. */
typedef struct texts {
    mete_text *item;
    size_t count, room;
} texts;

static bool
add_text(texts *list, mete_text text)
{
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        mete_text *wider = realloc(list->item, room * sizeof *wider);
        if (!wider)
            return false;
        list->item = wider;
        list->room = room;
    }
    list->item[list->count++] = text;
    return true;
}

static int
split_array(mete__lane *lane, mete_text records, texts *list, mete_error *err)
{
    mete__field element;
    int status = mete__json_check(records, err), got = 0;
    if (!status)
        status = mete__items_begin(&lane->items, records, err);
    while (!status && (got = mete__items_next(&lane->items, &element, err)) > 0) {
        /* a string's text is decoded, and no record anyhow */
        mete_text text = element.type == METE_JSON_STRING ? (mete_text){"\"\"", 2} : element.text;
        if (!add_text(list, text))
            status = mete_error_set(err, METE_ENOMEM, "out of memory");
    }
    return status ? status : got;
}

static int
split_lines(mete_text records, texts *list, mete_error *err)
{
    for (size_t at = 0; at < records.length;) {
        const char *line = records.data + at;
        const char *end = memchr(line, '\n', records.length - at);
        mete_text text =
            mete_text_trim((mete_text){line, end ? (size_t)(end - line) : records.length - at});
        if (text.length && !add_text(list, text))
            return mete_error_set(err, METE_ENOMEM, "out of memory");
        at = end ? (size_t)(end - records.data) + 1 : records.length;
    }
    return METE_OK;
}

static void
take_text(mete__lane *lane, size_t slot, mete_text text)
{
    mete__rows *rows = lane->scoring.rows;
    mete__part *part = &lane->scoring.part[0];
    mete_error err = {0};
    if (!mete__record_parse(&part->record, text.data, text.length, &err)) {
        mete__rows_take(rows, slot, part, &part->record, text);
        return;
    }
    rows->id_json[slot] = (mete_text){NULL, 0};
    mete__rows_bad(rows, slot, part, err.message);
}

int
mete_score_json(mete_scorer *scorer, mete_text records, mete_results **results, mete_error *err)
{
    mete_text all = mete_text_trim(records);
    texts list = {0};
    *results = NULL;
    mete__lane *lane = mete__scorer_take(scorer, true);
    int status;
    /* An object that goes over several lines is one record; one a line are several. */
    if (all.length && *all.data == '[')
        status = split_array(lane, all, &list, err);
    else if (all.length && !mete__json_check(all, NULL))
        status = add_text(&list, all) ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory");
    else
        status = split_lines(all, &list, err);
    if (!status && !mete__scoring_begin(&lane->scoring, list.count, 1))
        status = mete_error_set(err, METE_ENOMEM, "out of memory for %zu records", list.count);
    for (size_t i = 0; i < list.count && !status; i++)
        take_text(lane, i, list.item[i]);
    if (status)
        mete__scorer_give(scorer, lane);
    else
        status = finish(scorer, lane, list.count, results, err);
    free(list.item);
    return status;
}

const char *
mete_label_name(const mete_scorer *scorer)
{
    return scorer->label;
}

/* ---- opening --------------------------------------------------------------------------------- */

void
mete__errors_tell(const mete__errors *errors, mete_error *err)
{
    mete_buffer all = {0};
    for (size_t i = 0; i < errors->count; i++) {
        if (i)
            mete_buffer_byte(&all, '\n');
        mete_buffer_string(&all, errors->line[i]);
    }
    mete_error_set(err, METE_EINVAL, "%s", all.data ? all.data : "out of memory");
    mete_buffer_free(&all);
}

mete_scorer *
mete_open(const char *config, const mete_open_options *options, mete_error *err)
{
    mete_open_options own = {0};
    mete__errors errors = {0};
    if (options)
        memcpy(&own, options, options->size < sizeof own ? options->size : sizeof own);
    mete__engine_options engine = {.seed = 1, .threads = 1, .log = own.log, .user = own.user};
    mete_scorer *scorer = mete__scorer_open(config, own.set, own.sets,
                                            own.threads ? own.threads : 1, &engine, &errors);
    if (!scorer)
        mete__errors_tell(&errors, err);
    mete__errors_free(&errors);
    return scorer;
}
