/* written.h - criteria in a model's answer: {"criteria": [{"criterion": "...", "points": 5}]}. What
 * a model writes is for judges: no programs. */
#include "ask.h"
#include "criteria.h"

/* Is this a list of objects, each with a text, and points that are a number within the bounds or
 * absent? */
static inline int
is_rubric(const mete_json *list)
{
    for (const mete_json *at = mete_json_first(list); at; at = mete_json_next(at)) {
        const mete_json *points = either(at, "points", "weight");
        if (!mete_json_text(either(at, "criterion", "description")).length ||
            (points && !(fabs(mete_json_number(points)) <= 100)))
            return 0;
    }
    return mete_json_kind(list) == METE_JSON_ARRAY && mete_json_count(list) > 0;
}

/* Adds the first `most` criteria of the answer; *found says whether it had any. */
static inline int
read_written(mete_ctx *cx, mete_text answer, int64_t most, const char *source, mete_criteria *out,
             size_t row, int *found)
{
    mete_json *last = last_object(answer, "criteria", is_rubric);
    const mete_json *item = mete_json_first(mete_json_get(last, "criteria"));
    int status = METE_OK;
    for (int64_t k = 0; item && k < most && !status; k++, item = mete_json_next(item)) {
        const mete_json *points = either(item, "points", "weight");
        mete_criterion criterion = {.size = sizeof criterion,
                                    .kind = METE_CRITERION_JUDGED,
                                    .text =
                                        mete_json_text(either(item, "criterion", "description")),
                                    .points = points ? mete_json_number(points) : 1,
                                    .parent = -1,
                                    .source = mete_text_from(source)};
        status = mete_criterion_add(cx, out, row, &criterion);
    }
    *found = last != NULL;
    mete_json_free(last);
    return status;
}

/* A model that writes the criteria of each prompt, before any response is seen. */
struct writer {
    struct asking asking;
    int64_t most;
    const char *plugin, *task; /* who asks, and what it is told */
    const char *tag, *example; /* around the prompt; what one criterion looks like */
};

/* The tag holds a hash of the prompt, which therefore cannot close it. */
static inline int
writer_question(mete_ctx *cx, const struct writer *w, mete_text prompt, mete_message *out)
{
    unsigned long long hash = mete_hash(1, prompt.data, prompt.length);
    mete_buffer text = mete_buffer_make(0);
    mete_buffer_format(&text, "%s\n\n<%s-%016llx>\n", w->task, w->tag, hash);
    mete_buffer_text(&text, prompt);
    mete_buffer_format(&text,
                       "\n</%s-%016llx>\n\nAnswer with one JSON object and nothing after it: "
                       "{\"criteria\": [%s]}, of at most %d criteria.",
                       w->tag, hash, w->example, (int)w->most);
    *out = (mete_message){METE_USER, 0, mete_text_copy(cx, mete_buffer_view(&text))};
    int failed = text.status || !out->text.data;
    mete_buffer_free(&text);
    return failed ? mete_fail(cx, METE_ENOMEM, "out of memory for a question") : METE_OK;
}

struct written {
    const struct writer *writer;
    mete_criteria *out;
};

static inline int
writer_answer(mete_ctx *cx, void *user, mete_text answer, size_t k, int *found)
{
    const struct written *w = user;
    return read_written(cx, answer, w->writer->most, w->writer->plugin, w->out, k, found);
}

/* Asks for the criteria of all prompts in one call; a prompt without an answer in the end has none,
 * which is logged. */
static inline int
write_criteria(mete_ctx *cx, const struct writer *w, const mete_batch *prompts, mete_criteria *out)
{
    size_t rows = prompts->episodes, open = 0;
    mete_message *message = mete_arena(cx, (rows + 1) * sizeof *message);
    struct written written = {w, out};
    int status = METE_OK;
    if (!prompts->prompt)
        return mete_fail(cx, METE_EDATA, "there is no prompt to write criteria for");
    if (!message)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu questions", rows);
    for (size_t i = 0; i < rows && !status; i++)
        status = writer_question(cx, w, prompts->prompt[i], &message[i]);
    if (!status)
        status = ask_all(cx, &w->asking, message, prompts->prompt_id, rows, writer_answer, &written,
                         &open);
    if (open && !status)
        mete_log(cx, 2, "no criteria for %zu of %zu prompts: the model's answers held none", open,
                 rows);
    return status;
}
