/* machine.h - where a run runs, for its journal and its page. */
#ifndef METE_CLI_MACHINE_H
#define METE_CLI_MACHINE_H

#include <mete/text.h>

/* Appends one line: version, system, processor, how many there are, memory, linear algebra. */
void mete__machine_describe(mete_buffer *out);

#endif
