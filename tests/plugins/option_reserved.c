/* kind: reward */
#include "mischief.h"

struct state {
    double x;
};

static const mete_option options[] = {
    {.name = "node", .type = METE_OPTION_REAL, .max = 1, .help = "h"}, METE_OPTIONS_END};

METE_REWARD_PLUGIN(option_reserved, "1", "x", .options = options,
                   .state_size = sizeof(struct state), .score = mischief_score);
