/* templates.h - what `mete new` writes, by kind. */
#ifndef METE_CLI_TEMPLATES_H
#define METE_CLI_TEMPLATES_H

#include <stddef.h>

struct mete__template {
    const char *kind, *source, *makefile, *config, *readme;
    const char *data; /* test.jsonl, or NULL */
};

extern const struct mete__template mete__template[];
extern const size_t mete__templates;

#endif
