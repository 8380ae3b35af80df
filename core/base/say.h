/* say.h - what a command tells whoever started it. */
#ifndef METE_BASE_SAY_H
#define METE_BASE_SAY_H

#include <mete/base.h>

/* One line on standard error, after "mete: "; whole, whatever other threads say. */
void mete__say(const char *format, ...) METE_PRINTF(1, 2);

#endif
