/* override.h - PATH=VALUE as people write it in arms and sweeps. */
#ifndef METE_CLI_OVERRIDE_H
#define METE_CLI_OVERRIDE_H

#include "engine/config.h"

/* What --set takes of `word`, which is PATH=VALUE: where a group stands at PATH and VALUE is a bare
 * word or a group, the plugin or preset that takes its place, under its name and weight. The
 * caller frees; NULL after an error that begins with `place`. */
char *mete__override(mete__value *root, const char *word, const char *place, mete__errors *errors);

#endif
