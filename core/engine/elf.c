/* elf.c - is this file a whole shared object of this machine? Asked before dlopen, which answers a
 * truncated one with SIGBUS. */
#include "engine/elf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
#else
#define MACHINE EM_NONE
#endif

static int
check_header(const char *path, const Elf64_Ehdr *head, uint64_t size, mete_error *err)
{
    if (memcmp(head->e_ident, ELFMAG, SELFMAG) != 0)
        return mete_error_set(err, METE_EPLUGIN, "%s is not an ELF file", path);
    if (head->e_ident[EI_CLASS] != ELFCLASS64 || head->e_ident[EI_DATA] != ELFDATA2LSB ||
        (MACHINE != EM_NONE && head->e_machine != MACHINE))
        return mete_error_set(err, METE_EPLUGIN, "%s is built for another machine", path);
    if (head->e_type != ET_DYN)
        return mete_error_set(err, METE_EPLUGIN, "%s is not a shared object", path);
    if (head->e_phentsize != sizeof(Elf64_Phdr) || head->e_phnum == 0 || head->e_phoff > size ||
        (uint64_t)head->e_phnum * sizeof(Elf64_Phdr) > size - head->e_phoff)
        return mete_error_set(err, METE_EPLUGIN,
                              "%s is cut short: its program headers are not in it", path);
    if (head->e_shoff && (head->e_shoff > size ||
                          (uint64_t)head->e_shnum * head->e_shentsize > size - head->e_shoff))
        return mete_error_set(err, METE_EPLUGIN, "%s is cut short: its section table is not in it",
                              path);
    return METE_OK;
}

int
mete__elf_check(int fd, const char *path, mete_error *err)
{
    struct stat is;
    Elf64_Ehdr head;
    if (fstat(fd, &is))
        return mete_error_set(err, METE_EIO, "%s: %s", path, strerror(errno));
    uint64_t size = (uint64_t)is.st_size;
    if (size < sizeof head || pread(fd, &head, sizeof head, 0) != (ssize_t)sizeof head)
        return mete_error_set(err, METE_EPLUGIN, "%s is too short for a shared object", path);
    int status = check_header(path, &head, size, err);
    for (unsigned i = 0; i < head.e_phnum && !status; i++) {
        Elf64_Phdr part;
        off_t at = (off_t)(head.e_phoff + i * sizeof part);
        if (pread(fd, &part, sizeof part, at) != (ssize_t)sizeof part)
            return mete_error_set(err, METE_EPLUGIN, "%s cannot be read whole", path);
        if (part.p_type != PT_NULL &&
            (part.p_offset > size || part.p_filesz > size - part.p_offset))
            status = mete_error_set(err, METE_EPLUGIN,
                                    "%s is cut short: a segment ends past the file's %llu bytes",
                                    path, (unsigned long long)size);
    }
    return status;
}
