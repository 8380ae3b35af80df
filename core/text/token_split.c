/* token_split.c - cuts texts into pieces by the patterns of GPT-2, Llama 3 and Qwen 2, with PCRE2.
 *
 * A piece that is decided by ASCII bytes alone is found without the matcher, several times as fast;
 * at the first other byte the matcher is asked.
 *
 * The published patterns are matched by other engines, so what they write as \s is spelt out here:
 * Unicode's White_Space, which PCRE2's \s is not (it has U+180E besides).
 */
#include "text/token.h"

#define SPACES                                                                                     \
    "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}"       \
    "\\x{3000}"
#define MARKS "[^" SPACES "\\p{L}\\p{N}]"
#define SPACE "[" SPACES "]"
#define NO_SPACE "[^" SPACES "]"

#define CONTRACTIONS "'s|'t|'re|'ve|'m|'ll|'d"
#define LLAMA_LIKE(digits)                                                                         \
    "(?i:" CONTRACTIONS ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                                  \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA_LIKE_HERE(digits)                                                                    \
    "(?i:" CONTRACTIONS ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?" MARKS "+[\\r\\n]*|" SPACE  \
    "*[\\r\\n]+|" SPACE "+(?!" NO_SPACE ")|" SPACE "+"

/* As published, and as PCRE2 reads the same. */
static const struct {
    const char *published, *here;
} patterns[] = {
    [METE_SPLIT_GPT2] = {CONTRACTIONS "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
                         CONTRACTIONS "| ?\\p{L}+| ?\\p{N}+| ?" MARKS "+|" SPACE "+(?!" NO_SPACE
                                      ")|" SPACE "+"},
    [METE_SPLIT_LLAMA3] = {LLAMA_LIKE("\\p{N}{1,3}"), LLAMA_LIKE_HERE("\\p{N}{1,3}")},
    [METE_SPLIT_QWEN2] = {LLAMA_LIKE("\\p{N}"), LLAMA_LIKE_HERE("\\p{N}")},
};

/* What \w is to the reference: Alphabetic, marks, decimal digits, joiners of words. */
#define WORD                                                                                       \
    "[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200c}\\x{200d}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}" \
    "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}]"

const char *
mete__split_pattern(mete_split split)
{
    return patterns[split].published;
}

static pcre2_code *
compile(const char *pattern, uint32_t flags, mete_error *err)
{
    int code;
    PCRE2_SIZE at;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                         PCRE2_UTF | PCRE2_UCP | flags, &code, &at, NULL);
    if (!compiled) {
        mete_error_set(err, METE_ENOMEM, "PCRE2 gives error %d on a tokeniser's pattern", code);
        return NULL;
    }
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* without it the matcher interprets */
    return compiled;
}

/* ---- pieces of ASCII ------------------------------------------------------------------------- */

enum { MARK, LETTER, DIGIT, BLANK, LINE, BEYOND }; /* LINE: \r and \n; BEYOND: not ASCII */

static void
fill_kinds(uint8_t *kind)
{
    for (unsigned b = 0; b < 256; b++)
        kind[b] = b >= 0x80                                         ? BEYOND
                  : (b | 32) >= 'a' && (b | 32) <= 'z'              ? LETTER
                  : b >= '0' && b <= '9'                            ? DIGIT
                  : b == '\r' || b == '\n'                          ? LINE
                  : b == ' ' || b == '\t' || b == '\v' || b == '\f' ? BLANK
                                                                    : MARK;
}

/* A text's bytes and their kinds; the end has a kind of its own. */
struct view {
    const uint8_t *kind;
    const unsigned char *byte;
    size_t length;
};

static inline int
kind_at(const struct view *v, size_t at)
{
    return at < v->length ? v->kind[v->byte[at]] : -1;
}

/* The end of a run of one kind; 0 where another than ASCII may belong to it. */
static inline size_t
run_end(const struct view *v, size_t at, int kind)
{
    while (at < v->length && v->kind[v->byte[at]] == kind)
        at++;
    return kind_at(v, at) == BEYOND ? 0 : at;
}

/* Length of the contraction at `at`, in any case of letters with `folds`. */
static size_t
contraction(const struct view *v, size_t at, bool folds)
{
    unsigned char fold = folds ? 32 : 0;
    if (v->byte[at] != '\'' || at + 1 >= v->length)
        return 0;
    unsigned char a = v->byte[at + 1] | fold;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    unsigned char b = at + 2 < v->length ? v->byte[at + 2] | fold : 0;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* A run of white space: all of it at the end of the text, else all but the last, which goes with
 * what follows; one alone is a piece. With `lines` it ends after its last line end instead. */
static size_t
spaces_end(const struct view *v, size_t at, bool lines)
{
    size_t end = at, line = 0;
    for (int kind; (kind = kind_at(v, end)) == BLANK || kind == LINE; end++)
        line = kind == LINE ? end + 1 : line;
    if (kind_at(v, end) == BEYOND)
        return 0;
    if (lines && line)
        return line;
    return end == v->length || end == at + 1 ? end : end - 1;
}

static size_t
ascii_gpt2(const struct view *v, size_t at)
{
    size_t short_form = contraction(v, at, false);
    size_t from = at + (v->byte[at] == ' ');
    int kind = kind_at(v, from);
    if (short_form)
        return at + short_form;
    if (kind == BEYOND)
        return 0;
    if (kind == LETTER || kind == DIGIT || kind == MARK)
        return run_end(v, from, kind);
    return spaces_end(v, at, false);
}

static size_t
ascii_llama3(const struct view *v, size_t at, size_t digits)
{
    size_t short_form = contraction(v, at, true);
    int kind = kind_at(v, at), next = kind_at(v, at + 1);
    if (short_form)
        return at + short_form;
    if (kind == BEYOND || (next == BEYOND && kind != LINE))
        return 0; /* also U+017F, which is an s where case is folded */
    if (kind == LETTER)
        return run_end(v, at, LETTER);
    if (kind == DIGIT) {
        size_t end = at + 1;
        while (end < at + digits && kind_at(v, end) == DIGIT)
            end++;
        return end < at + digits && kind_at(v, end) == BEYOND ? 0 : end;
    }
    if (kind != LINE && next == LETTER)
        return run_end(v, at + 1, LETTER);
    if (kind == MARK || (v->byte[at] == ' ' && next == MARK)) {
        size_t end = run_end(v, at + (kind != MARK), MARK);
        while (end && kind_at(v, end) == LINE)
            end++;
        return end;
    }
    return spaces_end(v, at, true);
}

/* The end of the piece at `at`, or 0 where more than ASCII decides it. */
static inline size_t
ascii_piece(const mete_tokeniser *t, mete_split split, mete_text text, size_t at)
{
    const struct view v = {t->kind, (const unsigned char *)text.data, text.length};
    if (split == METE_SPLIT_GPT2)
        return ascii_gpt2(&v, at);
    return ascii_llama3(&v, at, split == METE_SPLIT_LLAMA3 ? 3 : 1);
}

/* ---- the matcher ----------------------------------------------------------------------------- */

int
mete__split_compile(mete_tokeniser *t, mete_error *err)
{
    fill_kinds(t->kind);
    for (size_t i = 0; i < t->steps; i++) {
        mete_split split = t->step[i].split;
        if (split == METE_SPLIT_NONE || t->pattern[split])
            continue;
        t->pattern[split] = compile(patterns[split].here, 0, err);
        if (!t->pattern[split])
            return METE_ENOMEM;
    }
    for (size_t i = 0; i < t->addeds && !t->word; i++)
        if (t->added[i].single_word) {
            t->word = compile(WORD, PCRE2_ANCHORED, err);
            if (!t->word)
                return METE_ENOMEM;
        }
    return METE_OK;
}

int
mete__matcher_open(mete__matcher *matcher, mete_error *err)
{
    matcher->data = pcre2_match_data_create(1, NULL);
    matcher->limits = pcre2_match_context_create(NULL);
    if (matcher->data && matcher->limits)
        return METE_OK;
    mete__matcher_close(matcher);
    return mete_error_set(err, METE_ENOMEM, "out of memory for a pattern matcher");
}

void
mete__matcher_close(mete__matcher *matcher)
{
    pcre2_match_data_free(matcher->data);
    pcre2_match_context_free(matcher->limits);
    *matcher = (mete__matcher){0};
}

size_t
mete__split_next(const mete_tokeniser *t, mete__matcher *matcher, mete_split split, mete_text text,
                 size_t at, mete_error *err)
{
    if (split == METE_SPLIT_NONE || at >= text.length)
        return text.length;
    size_t end = ascii_piece(t, split, text, at);
    if (end)
        return end;
    /* The patterns go back over a run of spaces once at most: linear in what is left. */
    size_t most = 1000000 + 16 * (text.length - at);
    pcre2_set_match_limit(matcher->limits, most > UINT32_MAX ? UINT32_MAX : (uint32_t)most);
    int found = pcre2_match(t->pattern[split], (PCRE2_SPTR)text.data, text.length, at,
                            PCRE2_NO_UTF_CHECK, matcher->data, matcher->limits);
    if (found == PCRE2_ERROR_NOMATCH)
        return text.length;
    if (found < 0) {
        mete_error_set(err, METE_EDATA,
                       "cutting a text of %zu bytes was given up at byte %zu (PCRE2 error %d)",
                       text.length, at + 1, found);
        return SIZE_MAX;
    }
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(matcher->data);
    if (span[0] > at) /* what no alternative matches is a piece too */
        return span[0];
    return span[1] > at ? span[1] : text.length;
}

bool
mete__is_word(const mete_tokeniser *t, mete__matcher *matcher, mete_text text, bool at_end)
{
    if (!text.length)
        return false;
    size_t at = at_end ? mete_utf8_floor(text, text.length - 1) : 0;
    return pcre2_match(t->word, (PCRE2_SPTR)text.data, text.length, at, PCRE2_NO_UTF_CHECK,
                       matcher->data, NULL) > 0;
}

size_t
mete__spaces_first(mete_text text)
{
    size_t at = 0;
    while (at < text.length) {
        size_t next = at;
        if (!mete_code_is_space(mete_utf8_next(text, &next)))
            break;
        at = next;
    }
    return at;
}

size_t
mete__spaces_last(mete_text text)
{
    size_t end = text.length;
    while (end > 0) {
        size_t at = mete_utf8_floor(text, end - 1), next = at;
        if (!mete_code_is_space(mete_utf8_next(text, &next)) || next != end)
            break;
        end = at;
    }
    return text.length - end;
}
