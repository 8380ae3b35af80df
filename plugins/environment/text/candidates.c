/* candidates - choose one of the responses a record gives.
 *
 * Each task is a record with a prompt and a list of candidate responses; the action is an index,
 * and the candidate's text becomes the response that rewards see. When the record carries a score
 * for each candidate, it is the environment's own reward.
 */
#include <math.h>
#include <mete/environment.h>
#include <mete/text.h>
#include <string.h>

struct candidates {
    const mete_table *data;
    const char *prompt, *candidates, *scores;
    int64_t shuffle;

    struct task {
        mete_text *item;
        double *score;
        size_t count;
    } * task; /* [data->rows] */
    const mete_text *text;
    uint32_t *lane; /* [lanes] record each lane shows */
    size_t lanes;
    int list, chosen;
    uint64_t key;
};

static const mete_option options[] = {
    METE_DATA(struct candidates, data, METE_REQUIRED, "the records: JSONL, plain or gzip"),
    METE_STRING(struct candidates, prompt, "prompt", 0, "field that holds the prompt"),
    METE_STRING(struct candidates, candidates, "candidates", 0,
                "field that holds the JSON list of responses to choose from"),
    METE_STRING(struct candidates, scores, "scores", 0,
                "field with a JSON list of numbers, one a candidate: the reward; may be absent"),
    METE_INT(struct candidates, shuffle, 1, 0, 1, "1: a new order each epoch; 0: the file's order"),
    METE_OPTIONS_END};

static int
read_items(mete_ctx *cx, struct candidates *p, size_t row, mete_text value)
{
    struct task *task = &p->task[row];
    mete_error err = {0};
    mete_json *list = mete_json_parse(value, &err);
    size_t count = list ? mete_json_count(list) : 0;
    int status = METE_OK;
    task->item = mete_alloc(cx, (count + 1) * sizeof *task->item);
    if (!count)
        status = mete_fail(cx, METE_EDATA, "%s:%llu: field '%s' must be a list of texts%s%s",
                           p->data->file, (unsigned long long)p->data->line[row], p->candidates,
                           err.code ? ": " : "", err.message);
    for (const mete_json *at = list && count ? mete_json_first(list) : NULL; at && !status;
         at = mete_json_next(at)) {
        mete_text item = mete_json_text(at);
        char *own = mete_alloc(cx, item.length + 1);
        if (!item.data || !own) {
            status = mete_fail(cx, METE_EDATA, "%s:%llu: a candidate is no text", p->data->file,
                               (unsigned long long)p->data->line[row]);
            break;
        }
        memcpy(own, item.data, item.length);
        task->item[task->count++] = (mete_text){own, item.length};
    }
    if (list)
        mete_json_free(list);
    return status;
}

static int
read_scores(mete_ctx *cx, struct candidates *p, size_t row, mete_text value)
{
    struct task *task = &p->task[row];
    mete_error err = {0};
    mete_json *list = mete_json_parse(value, &err);
    size_t count = 0;
    int good = list && mete_json_count(list) == task->count;
    task->score = mete_alloc(cx, task->count * sizeof *task->score);
    for (const mete_json *at = good ? mete_json_first(list) : NULL; at; at = mete_json_next(at)) {
        task->score[count] = mete_json_number(at);
        good &= isfinite(task->score[count++]);
    }
    if (list)
        mete_json_free(list);
    if (!good)
        return mete_fail(cx, METE_EDATA, "%s:%llu: field '%s' must be a list of %zu numbers",
                         p->data->file, (unsigned long long)p->data->line[row], p->scores,
                         task->count);
    return METE_OK;
}

static int
open_candidates(mete_ctx *cx, void *self)
{
    struct candidates *p = self;
    const mete_text *list = mete_table_text(p->data, p->candidates);
    const mete_text *score = mete_table_text(p->data, p->scores);
    p->text = mete_table_text(p->data, p->prompt);
    if (!p->text || !list || !p->data->rows)
        return mete_fail(cx, METE_EDATA, "%s has no records with the fields '%s' and '%s'",
                         p->data->file, p->prompt, p->candidates);
    if (!(p->task = mete_alloc(cx, p->data->rows * sizeof *p->task)))
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu records", p->data->rows);
    for (size_t row = 0; row < p->data->rows; row++) {
        int status = read_items(cx, p, row, list[row]);
        if (!status && score && score[row].data)
            status = read_scores(cx, p, row, score[row]);
        if (status)
            return status;
    }
    p->key = mete_key(cx);
    p->list = mete_provide(cx, "candidates", METE_LIST, METE_TEXT, METE_SEE_POLICY,
                           "the responses to choose from");
    if (p->list < 0)
        return p->list;
    p->chosen = mete_provide_signal(cx, "chosen", METE_SEE_REWARD, 0, INFINITY,
                                    "index of the candidate taken");
    return p->chosen < 0 ? p->chosen : METE_OK;
}

static int
spaces(mete_ctx *cx, void *self, size_t lanes, mete_spaces *out)
{
    struct candidates *p = self;
    if (!(p->lane = mete_alloc(cx, lanes * sizeof *p->lane)))
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", lanes);
    p->lanes = lanes;
    out->single_turn = 1;
    out->max_steps = 1;
    out->tasks = p->data->rows;
    out->observation.kind = METE_SPACE_TEXT;
    out->action.kind = METE_SPACE_CANDIDATES;
    for (size_t i = 0; i < p->data->rows; i++)
        if (p->task[i].count > out->action.count)
            out->action.count = (uint32_t)p->task[i].count;
    return METE_OK;
}

static int
show_row(mete_ctx *cx, struct candidates *p, size_t lane, uint32_t row, mete_observations *out)
{
    p->lane[lane] = row;
    out->prompt[lane] = p->text[row];
    out->prompt_id[lane] = mete_hash(row, p->text[row].data, p->text[row].length);
    return mete_lane_list(cx, out, p->list, lane, p->task[row].item, p->task[row].count);
}

static int
show(mete_ctx *cx, struct candidates *p, size_t lane, uint64_t task, mete_observations *out)
{
    uint64_t at = mete_task_record(p->key, task, p->data->rows, p->shuffle);
    return show_row(cx, p, lane, (uint32_t)at, out);
}

static int
reset(mete_ctx *cx, void *self, const mete_reset *in, mete_observations *out)
{
    struct candidates *p = self;
    int status = METE_OK;
    for (size_t k = 0; k < in->count && !status; k++)
        status = in->lane[k] < p->lanes
                     ? show(cx, p, in->lane[k], in->task[k], out)
                     : mete_fail(cx, METE_EPLUGIN, "lane %u of %zu", in->lane[k], p->lanes);
    return status;
}

static int
step(mete_ctx *cx, void *self, const mete_actions *in, mete_transitions *out)
{
    struct candidates *p = self;
    float *chosen = mete_lane_signal(out, p->chosen);
    int status = METE_OK;
    for (size_t lane = 0; lane < p->lanes && !status; lane++) {
        const struct task *task = &p->task[p->lane[lane]];
        int32_t action = in->action[lane];
        if (action < 0 || (size_t)action >= task->count)
            return mete_fail(cx, METE_EINVAL, "chose candidate %d of %zu", action, task->count);
        if (task->score)
            out->reward[lane] = (float)task->score[action];
        chosen[lane] = (float)action;
        out->terminated[lane] = 1;
        out->episode[lane] += out->stride;
        out->task[lane] += out->task_stride;
        status = show(cx, p, lane, out->task[lane], out->next);
    }
    return status;
}

static int
copy(mete_ctx *cx, const void *self, size_t lane, void *bytes)
{
    (void)cx;
    memcpy(bytes, &((const struct candidates *)self)->lane[lane], sizeof(uint32_t));
    return METE_OK;
}

static int
restore(mete_ctx *cx, void *self, size_t lane, const void *bytes, mete_observations *out)
{
    struct candidates *p = self;
    uint32_t row;
    memcpy(&row, bytes, sizeof row);
    if (row >= p->data->rows)
        return mete_fail(cx, METE_EDATA, "a saved lane names record %u of %zu", row, p->data->rows);
    return show_row(cx, p, lane, row, out);
}

METE_ENVIRONMENT_PLUGIN(
    candidates, "1.0", "choose among given responses",
    .doc =
        "Every record is a task: the policy sees the prompt and the candidates and takes one by\n"
        "its index. The response of the episode is the candidate's text. The signal `chosen` is\n"
        "the index.",
    .options = options, .state_size = sizeof(struct candidates), .lane_size = sizeof(uint32_t),
    .open = open_candidates, .spaces = spaces, .reset = reset, .step = step, .copy = copy,
    .restore = restore);
