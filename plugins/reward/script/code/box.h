/* box.h - programs run in a box: bubblewrap's namespaces (no network, no files but the system's to
 * read and an empty folder in memory), a filter of system calls, limits of time, memory, output and
 * processes. */
#ifndef BOX_H
#define BOX_H

#include <mete/base.h>

/* What every program of an instance may use. */
struct limits {
    double seconds;    /* by the clock, and of processor time */
    int64_t memory;    /* MiB of address space a process */
    int64_t output;    /* KiB a file, standard output too */
    int64_t processes; /* at once; not held where mete runs as root without setpriv */
};

enum ending {
    UNBOXED, /* the box could not be set up: nothing is known of the program */
    ENDED,   /* `code` is its exit code */
    LATE     /* it took too long and was ended */
};

struct program {
    mete_text file;             /* its text, at /tmp/<name> */
    const char *name;           /* of that file in the box */
    const char *const *command; /* [.. NULL] run in /tmp */
    mete_text input;            /* on standard input */
    /* filled by box_run */
    enum ending ending;
    int code;
    char *output; /* standard output, NUL-terminated, the caller's to free; NULL: none */
    size_t length;
    char said[300]; /* the end of standard error */
};

/* Runs the programs, `side_by_side` at a time. 0, or -1 with errno where nothing could be run. */
int box_run(struct program *program, size_t count, size_t side_by_side, const struct limits *limits,
            int open_air);

#endif
