/* corpus - plain text for pre-training: a file cut into stretches, each the answer to an empty
 * prompt.
 *
 * A stage with `responses = "text"` imitates the stretches, which is language modelling. Without a
 * separator the file is cut every `length` bytes, after white space where there is some in the
 * second half, never inside a character: the stretches joined are the file. With one, documents are
 * what stands between separators, and only those longer than `length` are cut. The last `holdout`
 * of the file, or the file `held`, is kept for evaluation: held-out text never lies between
 * stretches that were learnt from.
 */
#include <mete/environment.h>
#include <mete/text.h>
#include <string.h>

#define MOST_BYTES ((size_t)1 << 30)

struct stretches {
    mete_text *text;
    size_t count;
};

struct corpus {
    const char *file, *held, *separator;
    int64_t length, shuffle;
    double holdout;

    struct stretches train, kept;
    uint64_t key;
    int column;
    struct lane {
        uint32_t number; /* of its stretch */
        uint8_t evaluation;
    } * lane;
    size_t lanes;
};

static const mete_option options[] = {
    METE_FILE(struct corpus, file, METE_REQUIRED, "the text, plain or gzip"),
    METE_FILE(struct corpus, held, 0, "another file, kept for evaluation"),
    METE_STRING(
        struct corpus, separator, "", 0,
        "what stands between documents, such as an empty line; empty: stretches of `length`"),
    METE_INT(struct corpus, length, 512, 16, 1 << 20, "longest stretch, in bytes"),
    {.name = "holdout",
     .type = METE_OPTION_REAL,
     .offset = offsetof(struct corpus, holdout),
     .value = 0.1,
     .max = 0.9,
     .help = "share of the stretches, the last of the file, kept for evaluation; not with `held`"},
    METE_INT(struct corpus, shuffle, 1, 0, 1, "1: a new order each epoch; 0: the file's order"),
    METE_OPTIONS_END};

/* ---- cutting --------------------------------------------------------------------------------- */

static int
is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Bytes of the next stretch of a text. */
static size_t
stretch(mete_text text, size_t length)
{
    if (text.length <= length)
        return text.length;
    for (size_t at = length; at > length / 2; at--)
        if (is_space(text.data[at - 1]))
            return at;
    size_t at = mete_utf8_floor(text, length);
    return at ? at : length;
}

/* The next document of a text from *at on, which moves past it and its separator. */
static mete_text
document(mete_text text, mete_text separator, size_t *at)
{
    size_t from = *at;
    size_t end = separator.length ? mete_text_find(text, separator, from) : SIZE_MAX;
    *at = end == SIZE_MAX ? text.length : end + separator.length;
    return mete_text_slice(text, from, end);
}

/* Counts the stretches of a text, and writes them where `out` is not NULL. */
static size_t
cut(const struct corpus *p, mete_text text, mete_text *out)
{
    mete_text separator = mete_text_from(p->separator);
    size_t count = 0;
    for (size_t at = 0; at < text.length;) {
        mete_text rest = document(text, separator, &at);
        while (rest.length) {
            size_t take = stretch(rest, (size_t)p->length);
            if (out)
                out[count] = mete_text_slice(rest, 0, take);
            count++;
            rest = mete_text_slice(rest, take, rest.length);
        }
    }
    return count;
}

static int
read_stretches(mete_ctx *cx, const struct corpus *p, const char *path, struct stretches *out)
{
    mete_error err = {0};
    mete_buffer bytes = {0};
    int status = mete_file_read(path, MOST_BYTES, &bytes, &err);
    char *own = status ? NULL : mete_alloc(cx, bytes.length + 1);
    mete_text text = {own, bytes.length};
    if (status) {
        status = mete_fail(cx, err.code, "%s", err.message);
    } else if (own) {
        if (bytes.length)
            memcpy(own, bytes.data, bytes.length);
        out->count = cut(p, text, NULL);
        out->text = mete_alloc(cx, (out->count + 1) * sizeof *out->text);
    }
    mete_buffer_free(&bytes);
    if (status)
        return status;
    if (!own || !out->text)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %s", path);
    if (!out->count || out->count > UINT32_MAX)
        return mete_fail(cx, METE_EDATA, "%s has %zu stretches of text; from 1 to 2^32 are allowed",
                         path, out->count);
    cut(p, text, out->text);
    return METE_OK;
}

static int
open_corpus(mete_ctx *cx, void *self)
{
    struct corpus *p = self;
    int status = read_stretches(cx, p, p->file, &p->train);
    if (!status && p->held)
        status = read_stretches(cx, p, p->held, &p->kept);
    if (status)
        return status;
    if (!p->held) {
        size_t kept = (size_t)((double)p->train.count * p->holdout);
        p->train.count -= kept;
        p->kept = (struct stretches){p->train.text + p->train.count, kept};
        if (!kept) /* nothing held out: evaluation sees what is learnt from */
            p->kept = p->train;
    }
    p->key = mete_key(cx);
    p->column = mete_provide(cx, "text", METE_LIST, METE_TEXT, METE_SEE_REWARD,
                             "the stretch of text: one item");
    return p->column < 0 ? p->column : METE_OK;
}

/* ---- lanes ----------------------------------------------------------------------------------- */

static int
spaces(mete_ctx *cx, void *self, size_t lanes, mete_spaces *out)
{
    struct corpus *p = self;
    p->lane = mete_alloc(cx, lanes * sizeof *p->lane);
    if (!p->lane)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", lanes);
    p->lanes = lanes;
    out->single_turn = 1;
    out->observation.kind = METE_SPACE_TEXT;
    out->action.kind = METE_SPACE_TEXT;
    out->max_steps = 1;
    out->tasks = p->train.count;
    return METE_OK;
}

static int
show(mete_ctx *cx, const struct corpus *p, size_t lane, mete_observations *out)
{
    const struct lane *at = &p->lane[lane];
    const mete_text *text = &(at->evaluation ? &p->kept : &p->train)->text[at->number];
    out->prompt[lane] = (mete_text){"", 0};
    out->prompt_id[lane] = mete_hash(at->evaluation, text->data, text->length);
    return mete_lane_list(cx, out, p->column, lane, text, 1);
}

static int
start(mete_ctx *cx, struct corpus *p, size_t lane, uint64_t task, mete_observations *out)
{
    struct lane *at = &p->lane[lane];
    size_t count = at->evaluation ? p->kept.count : p->train.count;
    at->number = (uint32_t)mete_task_record(p->key, task, count, p->shuffle && !at->evaluation);
    return show(cx, p, lane, out);
}

static int
reset(mete_ctx *cx, void *self, const mete_reset *in, mete_observations *out)
{
    struct corpus *p = self;
    int status = METE_OK;
    for (size_t k = 0; k < in->count && !status; k++) {
        size_t lane = in->lane[k];
        if (lane >= p->lanes)
            return mete_fail(cx, METE_EPLUGIN, "lane %zu of %zu", lane, p->lanes);
        p->lane[lane].evaluation = in->evaluation != 0;
        status = start(cx, p, lane, in->task[k], out);
    }
    return status;
}

static int
step(mete_ctx *cx, void *self, const mete_actions *in, mete_transitions *out)
{
    struct corpus *p = self;
    int status = METE_OK;
    (void)in; /* one answer ends the episode */
    for (size_t lane = 0; lane < p->lanes && !status; lane++) {
        out->terminated[lane] = 1;
        out->episode[lane] += out->stride;
        out->task[lane] += out->task_stride;
        status = start(cx, p, lane, out->task[lane], out->next);
    }
    return status;
}

static int
copy(mete_ctx *cx, const void *self, size_t lane, void *bytes)
{
    const struct corpus *p = self;
    (void)cx;
    memcpy(bytes, &p->lane[lane], sizeof p->lane[lane]);
    return METE_OK;
}

static int
restore(mete_ctx *cx, void *self, size_t lane, const void *bytes, mete_observations *out)
{
    struct corpus *p = self;
    struct lane at;
    memcpy(&at, bytes, sizeof at);
    if (at.number >= (at.evaluation ? p->kept.count : p->train.count))
        return mete_fail(cx, METE_EDATA, "a saved lane names stretch %u, which is not there",
                         at.number);
    p->lane[lane] = at;
    return show(cx, p, lane, out);
}

METE_ENVIRONMENT_PLUGIN(
    corpus, "1.0", "stretches of a plain text, to learn a language from",
    .doc = "The prompt is empty; the list column `text` holds the stretch, which rewards see and\n"
           "the policy does not: a stage with responses = \"text\" imitates it, and\n"
           "evaluate = { responses = \"text\"; } measures bits per byte of what was held out.",
    .options = options, .state_size = sizeof(struct corpus), .lane_size = sizeof(struct lane),
    .open = open_corpus, .spaces = spaces, .reset = reset, .step = step, .copy = copy,
    .restore = restore);
