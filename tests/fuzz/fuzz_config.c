#define _GNU_SOURCE
/* Any bytes as a config: refused or read, and what is read writes back to something readable. */
#include "engine/config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mete__errors errors = {0};
    if (size > 0 && memmem(data, size, "@include", 8))
        return 0; /* reads files: tested elsewhere */
    mete__config *config =
        mete__config_parse("fuzz.cfg", (const char *)data, size, NULL, 0, &errors);
    char *text = config ? mete__config_write(mete__config_root(config)) : NULL;
    if (config && !text)
        abort();
    mete__config *again =
        text ? mete__config_parse("again.cfg", text, strlen(text), NULL, 0, &errors) : NULL;
    if (config && !again)
        abort();
    free(text);
    mete__config_free(again);
    mete__config_free(config);
    mete__errors_free(&errors);
    return 0;
}
