/* words.c - tokens of a text, and words by number.
 *
 * A token is a run of letters, digits, '_' and bytes from 0x80 on, or any other single byte, with
 * one space before it where there is one. So the tokens of a text joined are the text, byte for
 * byte, and nothing has to be known about spacing to write one.
 */
#include "window_lm.h"

#include <stdlib.h>
#include <string.h>

static int
is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int
is_word(unsigned char c)
{
    return c >= 0x80 || c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
           (c >= 'a' && c <= 'z');
}

int
token_next(mete_text text, size_t *at, mete_text *token)
{
    size_t from = *at, to = from;
    if (from >= text.length)
        return 0;
    const unsigned char *byte = (const unsigned char *)text.data;
    if (byte[to] == ' ' && to + 1 < text.length && !is_space(byte[to + 1]))
        to++;
    if (is_word(byte[to]))
        while (to < text.length && is_word(byte[to]))
            to++;
    else
        to++;
    *token = (mete_text){text.data + from, to - from};
    *at = to;
    return 1;
}

static size_t
slot_of(const struct words *words, mete_text text, uint64_t hash)
{
    size_t at = hash & (words->slots - 1);
    for (; words->slot[at]; at = (at + 1) & (words->slots - 1)) {
        const struct word *word = &words->word[words->slot[at] - 1];
        if (word->hash == hash && word->length == text.length &&
            memcmp(words->bytes + word->at, text.data, text.length) == 0)
            break;
    }
    return at;
}

static int
rehash(struct words *words, size_t slots)
{
    uint32_t *slot = calloc(slots, sizeof *slot);
    if (!slot)
        return -1;
    free(words->slot);
    words->slot = slot;
    words->slots = slots;
    for (size_t i = 0; i < words->words; i++) {
        size_t at = words->word[i].hash & (slots - 1);
        while (slot[at])
            at = (at + 1) & (slots - 1);
        slot[at] = (uint32_t)i + 1;
    }
    return 0;
}

static int
grow(struct words *words, size_t length)
{
    if (2 * (words->words + 1) > words->slots &&
        rehash(words, words->slots ? 2 * words->slots : 64))
        return -1;
    if (words->words == words->word_room) {
        size_t room = words->word_room ? 2 * words->word_room : 64;
        struct word *word = realloc(words->word, room * sizeof *word);
        if (!word)
            return -1;
        words->word = word;
        words->word_room = room;
    }
    if (words->room - words->length < length) {
        size_t room = 2 * (words->room + length);
        char *bytes = realloc(words->bytes, room);
        if (!bytes)
            return -1;
        words->bytes = bytes;
        words->room = room;
    }
    return 0;
}

int
words_add(struct words *words, mete_text text)
{
    uint64_t hash = mete_hash(0, text.data, text.length);
    if (words->words >= INT32_MAX - 4 || grow(words, text.length))
        return -1;
    size_t at = slot_of(words, text, hash);
    if (!words->slot[at]) {
        if (text.length)
            memcpy(words->bytes + words->length, text.data, text.length);
        words->word[words->words] = (struct word){words->length, text.length, hash, 0};
        words->length += text.length;
        words->slot[at] = (uint32_t)++words->words;
    }
    words->word[words->slot[at] - 1].count++;
    return (int)words->slot[at] - 1;
}

int32_t
words_find(const struct words *words, mete_text text)
{
    if (!words->slots)
        return -1;
    return (int32_t)words->slot[slot_of(words, text, mete_hash(0, text.data, text.length))] - 1;
}

mete_text
words_text(const struct words *words, size_t number)
{
    return (mete_text){words->bytes + words->word[number].at, words->word[number].length};
}

/* More frequent first; equals in the order they were met, which makes the order total. */
static int
by_count(const void *a, const void *b)
{
    const struct word *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

int
words_prune(struct words *words, size_t most, uint64_t least)
{
    if (!words->words)
        return 0;
    qsort(words->word, words->words, sizeof *words->word, by_count);
    if (words->words > most)
        words->words = most;
    while (words->words && words->word[words->words - 1].count < least)
        words->words--;
    return rehash(words, words->slots);
}

void
words_free(struct words *words)
{
    free(words->bytes);
    free(words->word);
    free(words->slot);
    memset(words, 0, sizeof *words);
}
