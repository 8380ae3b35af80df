/* kind: reward */
#include "mischief.h"

static int (*const unused)(mete_ctx *, const void *, const mete_batch *,
                           mete_scores *) = mischief_score;
METE_REWARD_PLUGIN(no_score, "1", "x", .extension = NULL);
METE_EXPORT int touch(void);
int
touch(void)
{
    return unused != NULL;
}
