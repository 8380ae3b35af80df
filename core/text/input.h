/* input.h - bytes of a file, plain or gzip, through one window: what the readers stand on. */
#ifndef METE_TEXT_INPUT_H
#define METE_TEXT_INPUT_H

#include <stdbool.h>

#include <mete/text.h>

typedef struct mete__input mete__input;

/* `limit` bounds the window's growth. "-" is stdin. */
mete__input *mete__input_open(const char *path, size_t limit, mete_error *err);
void mete__input_close(mete__input *input);
const char *mete__input_name(const mete__input *input);
/* The unread bytes at hand. */
mete_text mete__input_view(const mete__input *input);
/* Reads more after them: 1 when there are more, 0 at the end of the file, METE_EDATA when the
 * window is at its limit (no message), else a status with a message (METE_EINVAL for gzip that is
 * cut short or damaged). Moves the view. */
int mete__input_more(mete__input *input, mete_error *err);
/* Marks bytes of the view as read. */
void mete__input_skip(mete__input *input, size_t length);
/* Offset of the view in the (unzipped) file. */
uint64_t mete__input_offset(const mete__input *input);
int mete__input_seek(mete__input *input, uint64_t offset, mete_error *err);

#endif
