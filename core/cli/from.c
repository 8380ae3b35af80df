/* from.c - policy.from: a policy that begins with the parameters of another run's, or of a soup. */
#include "cli/train.h"

#include <stdlib.h>

static void
told(void *unused, const char *text)
{
    (void)unused;
    mete__say("%s; an older one is looked for", text);
}

int
mete__begin_from(mete__loop *loop, mete__config *config)
{
    mete__value *policy = mete__value_get(mete__config_root(config), "policy");
    mete__value *from = policy ? mete__value_get(policy, "from") : NULL;
    mete_error err = {0};
    uint64_t iteration;
    if (!from)
        return METE__EXIT_DONE;
    if (from->kind != METE__STRING) {
        mete__say("%s:%d: policy.from must be the folder of a run", from->file, from->line);
        return METE__EXIT_INPUT;
    }
    char *folder = mete__value_file(from);
    mete__checkpoint *checkpoint =
        folder ? mete__checkpoint_read(folder, &iteration, told, NULL, &err) : NULL;
    free(folder);
    int status = checkpoint ? mete__loop_adopt(loop, checkpoint, &err) : METE_EDATA;
    mete__checkpoint_free(checkpoint);
    if (status)
        mete__say("%s:%d: policy.from = \"%s\": %s", from->file, from->line, from->string,
                  err.code ? err.message : "there is no checkpoint of a run in it");
    return mete__exit_of(status);
}
