/* elf.h - see elf.c. */
#ifndef METE_ENGINE_ELF_H
#define METE_ENGINE_ELF_H

#include <mete/base.h>

int mete__elf_check(int fd, const char *path, mete_error *err);

#endif
