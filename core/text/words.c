/* words.c - words, n-grams and normal forms of text.
 *
 * What a word is stands in text.h. Hashes are FNV-1a over the lower-case bytes, finished by
 * murmur3's mixer, so equal words have equal hashes on every machine.
 */
#include <mete/text.h>

#define HASH_START UINT64_C(0xcbf29ce484222325)
#define HASH_PRIME UINT64_C(0x100000001b3)

static inline uint64_t
mix(uint64_t hash)
{
    hash ^= hash >> 33;
    hash *= UINT64_C(0xff51afd7ed558ccd);
    hash ^= hash >> 33;
    hash *= UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 33;
}

enum class { SPACE, MARK, PART, ALONE };

static enum class class_beyond_ascii(uint32_t code) {
    if (mete_code_is_space(code)) return SPACE;
    if (code < 0xc0) return code == 0xaa || code == 0xb5 || code == 0xba ? PART : MARK;
    if (code == 0xd7 || code == 0xf7) return MARK;
    if (code < 0x2000) return PART;
    if (code <= 0x206f || (code >= 0x3001 && code <= 0x3004) ||
        (code >= 0x3008 && code <= 0x3020) || (code >= 0x3030 && code <= 0x303f) ||
        code == 0x30fb || (code >= 0xff01 && code <= 0xff0f) ||
        (code >= 0xff1a && code <= 0xff20) || (code >= 0xff3b && code <= 0xff40) ||
        (code >= 0xff5b && code <= 0xff65)) return MARK;
    if ((code >= 0x3005 && code <= 0x30ff) || (code >= 0x3400 && code <= 0x4dbf) ||
        (code >= 0x4e00 && code <= 0x9fff) || (code >= 0xf900 && code <= 0xfaff) ||
        (code >= 0x20000 && code <= 0x3ffff)) return ALONE;
    return PART;
}

static inline enum class class_of(uint32_t code, unsigned flags) {
    enum class class; if (code < 0x80){
        uint32_t letter = code | 0x20;
        class = code == ' ' || (code >= '\t' && code <= '\r')                      ? SPACE
                : (letter >= 'a' && letter <= 'z') || (code >= '0' && code <= '9') ? PART
                                                                                   : MARK;}
else
{
    class = class_beyond_ascii(code);
}
return (flags & METE_WORDS_SPACES) && class != SPACE ? PART : class;
}

static inline uint32_t
code_at(mete_text text, size_t *at)
{
    unsigned char byte = (unsigned char)text.data[*at];
    if (byte < 0x80) {
        ++*at;
        return byte;
    }
    return mete_utf8_next(text, at);
}

static inline uint64_t
hash_code(uint64_t hash, uint32_t code, unsigned flags)
{
    if (!(flags & METE_WORDS_CASE))
        code = mete_code_lower(code);
    if (code < 0x80)
        return (hash ^ code) * HASH_PRIME;
    for (; code; code >>= 7)
        hash = (hash ^ (code & 0x7f) ^ 0x80) * HASH_PRIME;
    return hash;
}

int
mete_word_next(mete_text text, unsigned flags, size_t *position, mete_word *word)
{
    size_t at = *position, start, next;
    uint64_t hash = HASH_START;
    enum class class = SPACE;
    uint32_t code = 0;

    for (start = at; at < text.length; start = at) {
        code = code_at(text, &at);
        class = class_of(code, flags);
        if (class == PART || class == ALONE || (class == MARK && (flags & METE_WORDS_PUNCTUATION)))
            break;
        class = SPACE;
    }
    if (class == SPACE) {
        *position = text.length;
        return 0;
    }
    hash = hash_code(hash, code, flags);
    for (next = at; class == PART && next < text.length; at = next) {
        code = code_at(text, &next);
        if (class_of(code, flags) != PART)
            break;
        hash = hash_code(hash, code, flags);
    }
    word->text = mete_text_slice(text, start, at);
    word->hash = mix(hash);
    *position = at;
    return 1;
}

size_t
mete_words(mete_text text, unsigned flags, uint64_t *out, size_t capacity)
{
    size_t position = 0, count = 0;
    mete_word word;
    while (mete_word_next(text, flags, &position, &word)) {
        if (count < capacity)
            out[count] = word.hash;
        count++;
    }
    return count;
}

size_t
mete_codes(mete_text text, uint64_t *out, size_t capacity)
{
    size_t at = 0, count = 0;
    while (at < text.length) {
        uint32_t code = code_at(text, &at);
        if (count < capacity)
            out[count] = mix(HASH_START ^ code);
        count++;
    }
    return count;
}

size_t
mete_ngrams(const uint64_t *word, size_t words, size_t n, uint64_t *out)
{
    if (n == 0 || words < n)
        return 0;
    for (size_t i = 0; i + n <= words; i++) {
        uint64_t hash = word[i];
        for (size_t k = 1; k < n; k++)
            hash = mix(hash * HASH_PRIME + word[i + k]);
        out[i] = hash;
    }
    return words - n + 1;
}

/* Small arrays, which sentences are, by insertion. */
static void
insertion_sort(uint64_t *hash, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint64_t moved = hash[i];
        size_t at = i;
        for (; at > 0 && hash[at - 1] > moved; at--)
            hash[at] = hash[at - 1];
        hash[at] = moved;
    }
}

static void
sift_down(uint64_t *hash, size_t at, size_t count)
{
    uint64_t moved = hash[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && hash[child + 1] > hash[child];
        if (hash[child] <= moved)
            break;
        hash[at] = hash[child];
    }
    hash[at] = moved;
}

/* By heap: qsort may allocate, and no input may make this quadratic. */
void
mete_hashes_sort(uint64_t *hash, size_t count)
{
    if (count <= 32) {
        insertion_sort(hash, count);
        return;
    }
    for (size_t i = count / 2; i-- > 0;)
        sift_down(hash, i, count);
    for (size_t left = count - 1; left > 0; left--) {
        uint64_t greatest = hash[0];
        hash[0] = hash[left];
        hash[left] = greatest;
        sift_down(hash, 0, left);
    }
}

/* ---- exact match ----------------------------------------------------------------------------- */

static int
is_ascii_mark(unsigned char byte)
{
    return (byte >= '!' && byte <= '/') || (byte >= ':' && byte <= '@') ||
           (byte >= '[' && byte <= '`') || (byte >= '{' && byte <= '~');
}

static int
is_article(mete_text word)
{
    static const char *const articles[] = {"a", "an", "the"};
    for (size_t i = 0; i < 3; i++) {
        size_t k = 0;
        while (k < word.length && articles[i][k] && (word.data[k] | 0x20) == articles[i][k])
            k++;
        if (k == word.length && articles[i][k] == '\0')
            return 1;
    }
    return 0;
}

/* Is this code point part of what \b calls a word? */
static int
is_word_code(uint32_t code)
{
    uint32_t letter = code | 0x20;
    if (code < 0x80)
        return (letter >= 'a' && letter <= 'z') || (code >= '0' && code <= '9') || code == '_';
    enum class class = class_beyond_ascii(code);
    return class == PART || class == ALONE;
}

/* Puts a space for each article between word boundaries. */
static int
drop_articles(mete_text text, mete_buffer *out)
{
    size_t at = 0;
    while (at < text.length && !out->status) {
        size_t start = at, next = at;
        int word = is_word_code(code_at(text, &next));
        for (at = next; at < text.length; at = next) {
            next = at;
            if (is_word_code(code_at(text, &next)) != word)
                break;
        }
        mete_text run = mete_text_slice(text, start, at);
        if (word && is_article(run))
            mete_buffer_byte(out, ' ');
        else
            mete_buffer_text(out, run);
    }
    return out->status;
}

static int
collapse_spaces(mete_text text, mete_buffer *out)
{
    size_t at = 0, start = out->length;
    int gap = 0;
    while (at < text.length && !out->status) {
        size_t from = at;
        if (mete_code_is_space(code_at(text, &at))) {
            gap = 1;
            continue;
        }
        if (gap && out->length > start)
            mete_buffer_byte(out, ' ');
        gap = 0;
        mete_buffer_append(out, text.data + from, at - from);
    }
    return out->status;
}

static int
drop_marks(mete_text text, mete_buffer *out)
{
    size_t start = 0;
    for (size_t at = 0; at <= text.length; at++) {
        if (at < text.length && !is_ascii_mark((unsigned char)text.data[at]))
            continue;
        if (at > start)
            mete_buffer_append(out, text.data + start, at - start);
        start = at + 1;
    }
    return out->status;
}

int
mete_normalise(mete_text text, unsigned flags, mete_buffer *out)
{
    int (*const step[])(mete_text, mete_buffer *) = {mete_lower, drop_marks, drop_articles,
                                                     collapse_spaces};
    mete_buffer work[2] = {mete_buffer_make(0), mete_buffer_make(0)};
    int status = METE_OK, turn = 0;
    for (unsigned i = 0; i < 4 && status == METE_OK; i++) {
        if (!(flags & 1u << i))
            continue;
        mete_buffer_clear(&work[turn]);
        status = step[i](text, &work[turn]);
        text = mete_buffer_view(&work[turn]);
        turn = !turn;
    }
    if (status == METE_OK)
        status = mete_buffer_text(out, text);
    else if (!out->status)
        out->status = status;
    mete_buffer_free(&work[0]);
    mete_buffer_free(&work[1]);
    return status;
}
