/* remote - another server's scores.
 * common: http
 *
 * Rows go out in questions of `batch` rows, `concurrency` at once. Where a server refuses a
 * question of several rows, each of them is asked alone, so that one row's fault is not its
 * neighbours'. A row that gets no score is a failed row with a sentence, never 0.
 */
#include "remote.h"

#include "../common/names.h"

#include <math.h>

_Static_assert(offsetof(struct remote, http) == 0, "HTTP_OPTIONS fill the state's first member");

static const mete_option options[] = {
    METE_STRING(struct http, url, NULL, METE_REQUIRED,
                "base of the server, such as http://127.0.0.1:5000"),
    METE_ENUM(struct remote, protocol, PROTOCOL_METE, "mete|openrlhf|classify|predict|score",
              "what the server speaks: mete serve, OpenRLHF's remote reward model, vLLM's and "
              "SGLang's /classify, TEI's /predict (pairs), vLLM's /score"),
    METE_STRING(struct remote, path, NULL, 0,
                "where it is served; by protocol /v1/score, /get_reward, /classify, /predict, "
                "/score"),
    METE_STRING(struct remote, model, NULL, 0, "the model's name there, where one is wanted"),
    METE_STRING(struct remote, before, "", 0,
                "openrlhf and classify send one text: this, the prompt ..."),
    METE_STRING(struct remote, between, "", 0, "... this, the response ..."),
    METE_STRING(struct remote, after, "", 0, "... and this"),
    METE_STRINGS(struct remote, fields, 0,
                 "columns sent, as text: mete: members of the record; openrlhf: one, the label"),
    METE_STRINGS(struct remote, signals, 0,
                 "numbers of the answer kept as signals: mete: its nodes; openrlhf: extra_logs"),
    METE_INT(struct remote, batch, 32, 1, 65536, "most rows of one request"),
    HTTP_OPTIONS,
    METE_OPTIONS_END};

/* ---- opening --------------------------------------------------------------------------------- */

static int
check(mete_ctx *cx, const struct remote *p)
{
    int named = p->protocol == PROTOCOL_METE || p->protocol == PROTOCOL_OPENRLHF;
    int whole = p->protocol == PROTOCOL_OPENRLHF || p->protocol == PROTOCOL_CLASSIFY;
    if (p->path && *p->path != '/')
        return mete_fail(cx, METE_EINVAL, "path must begin with '/'");
    if (p->fields.count && !named)
        return mete_fail(cx, METE_EINVAL, "this protocol has no place for fields");
    if (p->fields.count > 1 && p->protocol == PROTOCOL_OPENRLHF)
        return mete_fail(cx, METE_EINVAL, "openrlhf has one field, the label");
    if (p->signals.count && !named)
        return mete_fail(cx, METE_EINVAL, "this protocol's answers have no signals");
    if ((*p->before || *p->between || *p->after) && !whole)
        return mete_fail(cx, METE_EINVAL,
                         "before, between and after: this protocol sends prompt "
                         "and response apart");
    return METE_OK;
}

static int
open_remote(mete_ctx *cx, void *self)
{
    struct remote *p = self;
    int status = check(cx, p);
    if (!status)
        status = names_columns(cx, p->fields, METE_TEXT, &p->column);
    if (!status)
        status = names_signals(cx, p->signals, "told by the server", &p->signal);
    if (status)
        return status;
    status = http_open(cx, &p->http, p->path ? p->path : protocol_path(p->protocol), 1);
    if (status) /* close is called after a good open only */
        http_close(&p->http);
    return status;
}

static void
close_remote(mete_ctx *cx, void *self)
{
    struct remote *p = self;
    (void)cx;
    http_close(&p->http);
}

/* ---- scoring --------------------------------------------------------------------------------- */

/* Questions of the rows from `first` on. */
static int
write_all(mete_ctx *cx, const struct remote *p, const mete_batch *batch, size_t first, size_t end,
          size_t most, struct answers *answers, struct question *questions)
{
    for (struct question *q = questions; first < end; first += most, q++) {
        *q = (struct question){.first = first, .answers = answers};
        q->count = end - first < most ? end - first : most;
        http_job_init(&p->http, &q->http);
        q->http.random = batch->id[first];
        if (question_write(p, batch, q))
            return mete_fail(cx, METE_ENOMEM, "out of memory for a request");
    }
    return METE_OK;
}

static int
send_all(mete_ctx *cx, const struct remote *p, struct question *questions, size_t count)
{
    struct http_job **job = mete_arena(cx, (count + 1) * sizeof *job);
    if (!job)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu requests", count);
    for (size_t i = 0; i < count; i++)
        job[i] = &questions[i].http;
    return http_run(cx, &p->http, job, count, answer_read, p);
}

/* Might a single row be at fault? Not where the server refuses us, or is not there. */
static int
worth_parting(const struct question *q)
{
    long code = q->http.code;
    return q->count > 1 && q->http.status != METE_VALID &&
           (code == 400 || code == 413 || code == 422 || code == 500 || code == 502 || code == 504);
}

/* The rows of a question into `out`; how many have a score. */
static size_t
fill(mete_ctx *cx, const struct remote *p, const struct question *q, mete_scores *out)
{
    const struct answers *answers = q->answers;
    size_t valid = 0;
    for (size_t row = q->first; row < q->first + q->count; row++) {
        mete_text reason = answers->reason[row];
        if (q->http.status != METE_VALID) {
            mete_row_fail(cx, row, q->http.status, "%s", q->http.reason);
        } else if (answers->status[row] != METE_VALID) {
            mete_row_fail(cx, row, answers->status[row], "%.*s", (int)reason.length, reason.data);
        } else {
            valid++;
            out->episode[row] = answers->value[row];
            for (size_t s = 0; s < p->signals.count; s++)
                mete_out(out, p->signal[s])[row] = answers->signal[s * answers->rows + row];
        }
    }
    return valid;
}

/* The scores of the rows first..end, `most` in a question; *valid counts those there are. */
static int
ask(mete_ctx *cx, const struct remote *p, const mete_batch *batch, size_t first, size_t end,
    size_t most, struct answers *answers, mete_scores *out, size_t *valid)
{
    size_t count = (end - first + most - 1) / most;
    struct question *questions = mete_arena(cx, (count + 1) * sizeof *questions);
    int parting = 1;
    if (!questions)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu requests", count);
    int status = write_all(cx, p, batch, first, end, most, answers, questions);
    if (!status)
        status = send_all(cx, p, questions, count);
    for (size_t i = 0; i < count; i++) {
        struct question *q = &questions[i];
        if (!status && parting && worth_parting(q)) {
            size_t good = 0;
            status = ask(cx, p, batch, q->first, q->first + q->count, 1, answers, out, &good);
            *valid += good;
            parting = good > 0; /* else the fault is the server's */
        } else if (!status) {
            *valid += fill(cx, p, q, out);
        }
        mete_buffer_free(&q->http.body);
        mete_buffer_free(&q->http.answer);
    }
    return status;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct remote *p = self;
    size_t rows = batch->episodes, valid = 0;
    if (!batch->response)
        return mete_fail(cx, METE_EDATA, "there are no responses to send");
    struct answers answers = {
        .value = mete_arena(cx, (rows + 1) * sizeof *answers.value),
        .signal = mete_arena(cx, (rows * p->signals.count + 1) * sizeof *answers.signal),
        .status = mete_arena(cx, rows + 1),
        .reason = mete_arena(cx, (rows + 1) * sizeof *answers.reason),
        .rows = rows};
    if (!answers.value || !answers.signal || !answers.status || !answers.reason)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu rows", rows);
    return ask(cx, p, batch, 0, rows, (size_t)p->batch, &answers, out, &valid);
}

METE_REWARD_PLUGIN(
    remote, "1.0", "another server's score, over HTTP",
    .doc =
        "reward = { use = \"remote\"; url = \"http://127.0.0.1:5000\"; protocol = \"openrlhf\";\n"
        "    fields = [\"answer\"]; key_env = \"RM_KEY\"; timeout = 30.0; };\n"
        "\n"
        "A node of a tree like any other: it may be weighed, gated and normalised, and is cached\n"
        "nowhere. openrlhf and classify send before + prompt + between + response + after, which\n"
        "is where a chat template goes; mete, predict and score send the two apart. classify and\n"
        "score ask for raw scores (use_activation false), predict too (raw_scores true); of a\n"
        "classifier's several numbers the last is taken. A mete server's data.map must take the\n"
        "names prompt, response and those of `fields`.\n"
        "\n"
        "What may pass (no connection, a time-out, 408, 409, 429, 5xx) is tried again, after what\n"
        "Retry-After asks; an answer that cannot be read once. A question of several rows that\n"
        "the server refuses (4xx, 5xx) is then asked row by row. What has no score after all that "
        "is a\n"
        "failed row with the reason, or what the mete server says it is. The key is named, never\n"
        "written, and sent over https or to this machine; redirects are not followed. Each copy\n"
        "of the tree (run.threads of mete serve) sends on its own; `concurrency` holds for all.",
    .options = options, .state_size = sizeof(struct remote), .flags = METE_WAITS,
    .tags = "text, remote", .open = open_remote, .close = close_remote, .score = score);
