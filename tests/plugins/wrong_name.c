/* kind: reward */
#include "mischief.h"

METE_REWARD_PLUGIN(another_name, "1", "x", .score = mischief_score);
