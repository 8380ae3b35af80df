/* kind: reward */
#include "mischief.h"

METE_EXPORT const mete_reward mete_plugin_v2 = {.abi = 2u << 16,
                                                .size = sizeof(mete_reward),
                                                .kind = METE_KIND_REWARD,
                                                .name = "other_major",
                                                .option_size = sizeof(mete_option),
                                                .version = "1",
                                                .summary = "x",
                                                .score = mischief_score};
