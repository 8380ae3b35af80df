/* ask.h - asking a model for criteria, again where an answer holds none. */
#include <mete/model.h>
#include <mete/rubric.h>
#include <mete/text.h>

#define ANSWER_MOST ((size_t)1 << 16) /* bytes of an answer that are read */

struct asking {
    mete_node *model;
    int64_t tries, max_tokens;
    double temperature;
};

/* Reads answer k; *found is set where it is one. */
typedef int (*answer_reader)(mete_ctx *cx, void *user, mete_text answer, size_t k, int *found);

/* The last object of an answer whose member `list` is good, for the caller to free; or NULL. */
static inline mete_json *
last_object(mete_text answer, const char *list, int (*good)(const mete_json *list))
{
    mete_json *last = NULL, *object;
    size_t at = answer.length > ANSWER_MOST ? answer.length : 0;
    while ((object = mete_json_find(answer, &at)) != NULL) {
        int is = good(mete_json_get(object, list));
        mete_json_free(is ? last : object);
        last = is ? object : last;
    }
    return last;
}

/* Asks all questions in one call, those without an answer again with another seed, `tries` times in
 * all. *open: how many had none in the end. */
static inline int
ask_all(mete_ctx *cx, const struct asking *a, const mete_message *message, const uint64_t *key,
        size_t count, answer_reader read, void *user, size_t *open)
{
    mete_request *request = mete_arena(cx, (count + 1) * sizeof *request);
    size_t *row = mete_arena(cx, (count + 1) * sizeof *row);
    int status = METE_OK;
    if (!request || !row)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu questions", count);
    for (size_t i = 0; i < count; i++)
        row[i] = i;
    *open = count;
    for (int64_t try = 0; try < a->tries && *open && !status; try++) {
        for (size_t k = 0; k < *open; k++)
            request[k] = (mete_request){.size = sizeof *request,
                                        .messages = 1,
                                        .message = &message[row[k]],
                                        .seed = mete_hash_mix(key[row[k]], (uint64_t)try),
                                        .temperature = a->temperature,
                                        .max_tokens = (uint32_t)a->max_tokens};
        const mete_replies *got = mete_generate(cx, a->model, request, *open);
        size_t left = 0;
        if (!got)
            return METE_EIO;
        for (size_t k = 0; k < *open && !status; k++) {
            const mete_reply *reply = mete_reply_at(got, k);
            int found = 0;
            if (reply->status == METE_VALID)
                status = read(cx, user, reply->text, row[k], &found);
            if (!found)
                row[left++] = row[k];
        }
        *open = left;
    }
    return status;
}
