/* machine.c - see machine.h. */
#include "cli/machine.h"

#include "nn/nn.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

/* "model name" of the first processor that has one. */
static void
put_processor(mete_buffer *out)
{
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (!colon)
            continue;
        colon[strcspn(colon, "\n")] = 0;
        mete_buffer_format(out, "; %s", colon + 1 + strspn(colon + 1, " "));
        break;
    }
    if (file)
        fclose(file);
}

void
mete__machine_describe(mete_buffer *out)
{
    struct utsname name;
    char algebra[256];
    mete_buffer_string(out, "mete " PACKAGE_VERSION);
    if (uname(&name) == 0)
        mete_buffer_format(out, "; %s %s %s", name.sysname, name.release, name.machine);
    put_processor(out);
    double pages = (double)sysconf(_SC_PHYS_PAGES), page = (double)sysconf(_SC_PAGESIZE);
    mete_buffer_format(out, "; %ld processors, %.1f GiB of memory", sysconf(_SC_NPROCESSORS_ONLN),
                       pages * page / 1073741824);
    mete__nn_fingerprint(algebra, sizeof algebra);
    mete_buffer_format(out, "; %s", algebra);
}
