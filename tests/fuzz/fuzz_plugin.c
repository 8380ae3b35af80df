/* fuzz_plugin.c - any bytes as a plugin's file: what passes the check that stands before dlopen lies
 * whole within the file, so that the loader never maps what is not there. Nothing is loaded here. */
#define _GNU_SOURCE
#include "engine/elf.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition)
{
    if (!condition)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mete_error err = {0};
    Elf64_Ehdr head;
    int fd = memfd_create("plugin", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    int status = mete__elf_check(fd, "plugin.so", &err);
    close(fd);
    if (status) {
        require(err.code == status && strstr(err.message, "plugin.so") != NULL);
        return 0;
    }
    require(size >= sizeof head);
    memcpy(&head, data, sizeof head);
    require(memcmp(head.e_ident, ELFMAG, SELFMAG) == 0 && head.e_type == ET_DYN && head.e_phnum);
    for (unsigned i = 0; i < head.e_phnum; i++) {
        Elf64_Phdr part;
        size_t at = (size_t)head.e_phoff + i * sizeof part;
        require(at + sizeof part <= size);
        memcpy(&part, data + at, sizeof part);
        require(part.p_type == PT_NULL || (unsigned __int128)part.p_offset + part.p_filesz <= size);
    }
    return 0;
}
