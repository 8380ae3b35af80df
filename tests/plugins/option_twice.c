/* kind: reward */
#include "mischief.h"

struct state {
    double x;
};

static const mete_option options[] = {METE_REAL(struct state, x, 0, 0, 1, "h"),
                                      METE_REAL(struct state, x, 0, 0, 1, "h"), METE_OPTIONS_END};

METE_REWARD_PLUGIN(option_twice, "1", "x", .options = options, .state_size = sizeof(struct state),
                   .score = mischief_score);
