/* kind: reward */
/* Built against a header whose descriptor ended two members earlier, with shorter option rows. */
#include "mischief.h"

struct older {
    double x;
};

/* The row as it was before its last four members. */
struct short_row {
    const char *name;
    uint32_t type, flags;
    uint64_t offset;
    double value, min, max;
    const char *text, *unit, *help;
};

static const struct short_row options[] = {
    {"x", METE_OPTION_REAL, 0, offsetof(struct older, x), 1, 0, 2, NULL, NULL, "a number"},
    {.name = NULL}};

METE_EXPORT const mete_reward mete_plugin_v1 = {.abi = METE_ABI,
                                                .size = offsetof(mete_reward, adapt),
                                                .kind = METE_KIND_REWARD,
                                                .option_size = sizeof(struct short_row),
                                                .name = "older_minor",
                                                .version = "1",
                                                .summary = "older",
                                                .options =
                                                    (const mete_option *)(const void *)options,
                                                .state_size = sizeof(struct older),
                                                .score = mischief_score};
