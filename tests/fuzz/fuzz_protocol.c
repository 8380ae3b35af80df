/* fuzz_protocol.c - any bytes as a request in any protocol: a sentence, or scores whose answer is
 * JSON. The first byte picks the protocol. Without plugins only the reading is tried.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/protocol.h"
#include "score/scorer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition)
{
    if (!condition)
        abort();
}

static mete_scorer *
open_scorer(void)
{
    static const char path[] = "fuzz_protocol.cfg";
    mete__errors errors = {0};
    mete__engine_options engine = {.seed = 1, .threads = 1};
    FILE *f = getenv("METE_PLUGIN_PATH") ? fopen(path, "w") : NULL;
    if (!f)
        return NULL;
    fputs("reward = { use = \"sum\"; of = ( { use = \"length\"; }, { use = \"exact\"; } ); };", f);
    require(fclose(f) == 0);
    mete_scorer *scorer = mete__scorer_open(path, NULL, 0, 1, &engine, &errors);
    require(scorer != NULL);
    return scorer;
}

static void
score(mete_scorer *scorer, const mete__call *call)
{
    mete__lane *lane = mete__scorer_take(scorer, true);
    mete__scored scored = {&lane->scoring, 0, "v", METE__MISSING_ERROR};
    mete_error err = {0};
    require(mete__scoring_begin(&lane->scoring, call->count, 1));
    for (size_t k = 0; k < call->count; k++)
        mete__call_take(call, k, &lane->scoring, k);
    require(mete__scoring_run(&lane->scoring, call->count, &err) == METE_OK);
    for (int missing = 0; missing < 3; missing++) {
        mete_buffer out = {0};
        scored.missing = (mete__missing)missing;
        int status = call->protocol->answer(call, &scored, &out, &err);
        require(status == METE_OK ? mete__json_check(mete_buffer_view(&out), NULL) == METE_OK
                                  : missing == 0 && *err.message);
        mete_buffer_free(&out);
    }
    mete__engine_reset(lane->scoring.engine);
    mete__scorer_give(scorer, lane);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static mete__call call;
    static mete_scorer *scorer;
    static int tried;
    size_t count;
    const mete__protocol *table = mete__protocols(&count);
    if (!tried++)
        scorer = open_scorer();
    if (!size)
        return 0;
    static mete_tokeniser *bytes;
    if (!bytes)
        bytes = mete_tokeniser_bytes(NULL, 0, NULL);
    mete__setting setting = {mete_text_from("prompt"), mete_text_from("response"),
                             mete_text_from("reference"), bytes, size & 1};
    mete_text body = {(const char *)data + 1, size - 1};
    mete_error err = {0};
    int status = mete__call_read(&call, &table[(data[0] - 'A') % count], &setting, body, &err);
    require(status == METE_OK || (status == METE_EDATA && *err.message));
    if (!status && scorer)
        score(scorer, &call);
    mete__call_free(&call);
    return 0;
}
