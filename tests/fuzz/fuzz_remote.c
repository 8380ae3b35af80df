/* fuzz_remote.c - any bytes as the answer of another reward server: no crash; each row has a finite
 * score or a reason, and what is said of an answer that is none is short, printable and without the
 * key. The first byte picks the protocol, the second how many rows were asked about. */
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#if __has_include(<curl/curl.h>)
#include "../../plugins/common/http/words.c"
#include "../../plugins/reward/script/remote/protocol.c"
#include "engine/context.h"

enum { ROWS = 5, FIRST = 1, SIGNALS = 2 };

static void
require(int condition)
{
    if (!condition)
        abort();
}

static void
sentence(const char *text, size_t length, const struct remote *p)
{
    require(length < 400 && !text[length] && !strstr(text, p->http.key.data));
    for (size_t i = 0; i < length; i++)
        require(text[i] >= 32 && text[i] < 127);
}

/* Rows that were not asked about, and values of a row that has none, are as they were. */
static void
check(const struct remote *p, const struct question *q)
{
    const struct answers *a = q->answers;
    for (size_t i = 0; i < ROWS; i++) {
        bool asked = i >= q->first && i < q->first + q->count;
        require(asked || (a->status[i] == METE_FAILED && a->value[i] == 7));
        require(a->status[i] <= METE_TIMED_OUT && isfinite(a->value[i]));
        require(a->status[i] == METE_VALID || a->value[i] == 7);
        require(a->status[i] == METE_VALID || a->reason[i].length);
        sentence(a->reason[i].data, a->reason[i].length, p);
        for (size_t s = 0; s < SIGNALS; s++)
            require(isfinite(a->signal[s * ROWS + i]) && (asked || a->signal[s * ROWS + i] == 7));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[] = "reward.far";
    static const char *const signals[SIGNALS] = {"right", "other"};
    static mete_node node = {.path = path};
    if (size < 2)
        return 0;
    struct remote p = {.http = {.key = {"sk-secret-1234", 14}},
                       .protocol = data[0] % (PROTOCOL_SCORE + 1),
                       .signals = {.item = signals, .count = data[1] & 1 ? SIGNALS : 0}};
    double value[ROWS], signal[SIGNALS * ROWS];
    uint8_t status[ROWS];
    mete_text reason[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        value[i] = 7;
        status[i] = METE_FAILED;
        reason[i] = mete_text_from("not told");
    }
    for (size_t i = 0; i < SIGNALS * ROWS; i++)
        signal[i] = 7;
    struct answers answers = {value, signal, status, reason, ROWS};
    struct question q = {.first = FIRST, .count = 1 + (data[1] >> 1) % 3, .answers = &answers};
    q.http.answer = (mete_buffer){.data = (char *)(uintptr_t)data + 2, .length = size - 2};
    mete_error err = {0};
    mete_ctx cx = {.node = &node, .arena = mete__scratch(), .err = &err};
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    char why[300] = "";
    int got = answer_read(&cx, &p, &q.http, why, sizeof why);
    require(got == METE_OK || (got == METE_EDATA && *why));
    sentence(why, strlen(why), &p);
    if (got == METE_OK)
        check(&p, &q);
    mete__arena_release(cx.arena, mark);
    return 0;
}
#else
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)data;
    return size > SIZE_MAX / 2;
}
#endif
