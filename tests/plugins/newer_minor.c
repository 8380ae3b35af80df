/* kind: reward */
/* Built against a header two members and one option member longer. */
#include "mischief.h"

struct newer {
    double x;
};

struct long_row {
    mete_option row;
    double later;
};

static const struct long_row options[] = {
    {{.name = "x",
      .type = METE_OPTION_REAL,
      .offset = offsetof(struct newer, x),
      .value = 1,
      .max = 2,
      .help = "a number"},
     7},
    {{.name = "y", .type = METE_OPTION_REAL, .offset = 0, .value = 1, .max = 2, .help = "another"},
     8},
    {{.name = NULL}, 0}};

struct longer {
    mete_reward reward;
    void (*one)(void), (*two)(void);
};

METE_EXPORT const struct longer mete_plugin_v1 = {
    {.abi = METE_ABI + 5,
     .size = sizeof(struct longer),
     .kind = METE_KIND_REWARD,
     .option_size = sizeof(struct long_row),
     .name = "newer_minor",
     .version = "1",
     .summary = "newer",
     .options = (const mete_option *)(const void *)options,
     .state_size = sizeof(struct newer),
     .score = mischief_score},
    NULL,
    NULL};
