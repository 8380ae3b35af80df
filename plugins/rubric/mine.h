/* mine.h - the local proposer: what can be seen in a text, and how preferred pairs vote on it.
 *
 * A text's features are the words in it and a few of its forms (a number, an item of a list, a
 * question, more words than the middle one of all texts). A pair of which one text has a feature
 * votes for it when that one is preferred, against it otherwise, each by how sure the preference is
 * (2 p - 1). A feature that does not matter gets as many votes either way. In a group of n texts
 * that are all compared, of which k have it, for - against has then the variance
 * k (n - k) (n + 1) / 3, however often a text is in a pair (Wilcoxon's rank sum; 1 for a pair
 * alone), so z = (for - against) / sqrt(sum over groups) tells by how many standard deviations it
 * does (van Elteren 1960). Each feature is also a program's check, so what is mined can be judged
 * without a model. */
#include <math.h>
#include <mete/rubric.h>
#include <mete/text.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum mine_form { MINE_NUMBER, MINE_ITEM, MINE_QUESTION, MINE_LONG, MINE_FORMS };

struct mined_feature {
    uint64_t hash; /* of the word; the number of a form */
    mete_text word;
    uint32_t texts; /* that have it */
};

struct mine {
    size_t texts, features;
    struct mined_feature *feature; /* the forms first */
    uint32_t *first, *has;         /* text i has features has[first[i]..first[i + 1]), ascending */
    double middle;                 /* number of words of the middle text */
};

struct mine_votes {
    double for_, against, pairs;
    double variance; /* of for - against, if the feature does not matter */
    uint32_t have;   /* texts of the group under way that have it */
};

static inline int
mine_by_hash(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static inline int
mine_by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* A word that a check can ask for: of ASCII letters and digits or of anything beyond ASCII. */
static inline int
mine_plain(mete_text word)
{
    for (size_t i = 0; i < word.length; i++) {
        unsigned char c = (unsigned char)word.data[i];
        if (c < 0x80 && !((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z')))
            return 0;
    }
    return word.length > 0 && word.length <= 40;
}

static inline int
mine_has_form(mete_text text, enum mine_form form, size_t words, double middle)
{
    int begins = 1;
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        if ((form == MINE_NUMBER && c >= '0' && c <= '9') || (form == MINE_QUESTION && c == '?') ||
            (form == MINE_ITEM && begins && (c == '-' || c == '*')))
            return 1;
        begins = c == '\n' || (begins && (c == ' ' || c == '\t'));
    }
    return form == MINE_LONG && (double)words > middle;
}

/* Words of all texts, once each, into m->feature; at most `room`. */
static inline void
mine_vocabulary(struct mine *m, const mete_text *text, size_t room)
{
    m->features = MINE_FORMS;
    for (size_t i = 0; i < m->texts; i++) {
        mete_word word;
        for (size_t at = 0; mete_word_next(text[i], 0, &at, &word);)
            if (mine_plain(word.text) && m->features < room)
                m->feature[m->features++] = (struct mined_feature){word.hash, word.text, 0};
    }
    struct mined_feature *word = m->feature + MINE_FORMS;
    size_t count = m->features - MINE_FORMS, kept = 0;
    qsort(word, count, sizeof *word, mine_by_hash); /* begins with its hash */
    for (size_t i = 0; i < count; i++)
        if (!kept || word[kept - 1].hash != word[i].hash)
            word[kept++] = word[i];
    m->features = MINE_FORMS + kept;
}

static inline void
mine_text(struct mine *m, mete_text text, size_t words, size_t i)
{
    struct mined_feature *vocabulary = m->feature + MINE_FORMS;
    uint32_t *has = m->has + m->first[i];
    size_t count = 0, kept = 0;
    mete_word word;
    for (uint32_t form = 0; form < MINE_FORMS; form++)
        if (mine_has_form(text, (enum mine_form)form, words, m->middle))
            has[count++] = form;
    for (size_t at = 0; mete_word_next(text, 0, &at, &word);) {
        if (!mine_plain(word.text))
            continue;
        const struct mined_feature *found = bsearch(
            &word.hash, vocabulary, m->features - MINE_FORMS, sizeof *vocabulary, mine_by_hash);
        if (found)
            has[count++] = (uint32_t)(found - m->feature);
    }
    qsort(has, count, sizeof *has, mine_by_number);
    for (size_t k = 0; k < count; k++)
        if (!kept || has[kept - 1] != has[k])
            has[kept++] = has[k];
    for (size_t k = 0; k < kept; k++)
        m->feature[has[k]].texts++;
    m->first[i + 1] = m->first[i] + (uint32_t)kept;
}

/* What each text has; in the arena. */
static inline int
mine_texts(mete_ctx *cx, const mete_text *text, size_t texts, struct mine *m)
{
    size_t total = 0, half = texts / 2;
    uint64_t *words = mete_arena(cx, (texts + 1) * sizeof *words);
    uint64_t *sorted = mete_arena(cx, (texts + 1) * sizeof *sorted);
    *m = (struct mine){.texts = texts};
    if (!words || !sorted)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu texts", texts);
    for (size_t i = 0; i < texts; i++)
        total += sorted[i] = words[i] = mete_words(text[i], 0, NULL, 0);
    size_t room = total + MINE_FORMS * (texts + 1);
    if (room > UINT32_MAX)
        return mete_fail(cx, METE_ENOTSUP, "more than 2^32 words to mine");
    qsort(sorted, texts, sizeof *sorted, mine_by_hash);
    m->middle = texts ? (double)sorted[half] : 0;
    m->feature = mete_arena(cx, (room + 1) * sizeof *m->feature);
    m->first = mete_arena(cx, (texts + 1) * sizeof *m->first);
    m->has = mete_arena(cx, (room + 1) * sizeof *m->has);
    if (!m->feature || !m->first || !m->has)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu words", total);
    mine_vocabulary(m, text, room);
    for (size_t i = 0; i < texts; i++)
        mine_text(m, text[i], (size_t)words[i], i);
    return METE_OK;
}

static inline int
mine_has(const struct mine *m, size_t text, uint32_t feature)
{
    return bsearch(&feature, m->has + m->first[text], m->first[text + 1] - m->first[text],
                   sizeof *m->has, mine_by_number) != NULL;
}

/* Calls tell(user, feature, +1 or -1) for each feature that text a alone has, or text b alone. */
static inline void
mine_differences(const struct mine *m, size_t a, size_t b,
                 void (*tell)(void *user, uint32_t feature, int side), void *user)
{
    const uint32_t *x = m->has + m->first[a], *y = m->has + m->first[b];
    const uint32_t *x_end = m->has + m->first[a + 1], *y_end = m->has + m->first[b + 1];
    while (x < x_end || y < y_end)
        if (y == y_end || (x < x_end && *x < *y))
            tell(user, *x++, 1);
        else if (x == x_end || *y < *x)
            tell(user, *y++, -1);
        else
            x++, y++;
}

struct mine_ballot {
    struct mine_votes *votes;
    double sure; /* 2 p - 1 of the pair */
};

static inline void
mine_vote(void *user, uint32_t feature, int side)
{
    const struct mine_ballot *ballot = user;
    struct mine_votes *votes = &ballot->votes[feature];
    double sure = side * ballot->sure;
    *(sure > 0 ? &votes->for_ : &votes->against) += fabs(sure);
    votes->pairs += sure != 0;
}

/* Adds the variances of a group's features: of its texts that are in pairs. */
static inline void
mine_group(const struct mine *m, size_t from, size_t to, const uint8_t *votes_cast,
           struct mine_votes *votes)
{
    double n = 0;
    for (size_t i = from; i < to; i++) {
        n += votes_cast[i];
        for (size_t k = m->first[i]; votes_cast[i] && k < m->first[i + 1]; k++)
            votes[m->has[k]].have++;
    }
    for (size_t i = from; i < to; i++)
        for (size_t k = m->first[i]; votes_cast[i] && k < m->first[i + 1]; k++) {
            struct mine_votes *v = &votes[m->has[k]];
            v->variance += v->have * (n - v->have) * (n + 1) / 3;
            v->have = 0;
        }
}

/* Votes of the batch's pairs, whose rows are the texts; `skip` [pairs] or NULL: 1 does not vote. */
static inline struct mine_votes *
mine_count(mete_ctx *cx, const struct mine *m, const mete_batch *batch, const uint8_t *skip)
{
    struct mine_votes *votes = mete_arena(cx, (m->features + 1) * sizeof *votes);
    uint8_t *voting = mete_arena(cx, batch->episodes + 1);
    if (!votes || !voting) {
        mete_fail(cx, METE_ENOMEM, "out of memory for votes");
        return NULL;
    }
    for (size_t k = 0; k < batch->pairs; k++) {
        struct mine_ballot ballot = {votes, 2 * batch->pair_p[k] - 1};
        if (skip && skip[k])
            continue;
        voting[batch->pair_a[k]] = voting[batch->pair_b[k]] = 1;
        mine_differences(m, batch->pair_a[k], batch->pair_b[k], mine_vote, &ballot);
    }
    for (size_t g = 0; g < batch->groups; g++)
        mine_group(m, batch->group[g], batch->group[g + 1], voting, votes);
    return votes;
}

static inline double
mine_z(const struct mine_votes *votes)
{
    return votes->variance > 0 ? (votes->for_ - votes->against) / sqrt(votes->variance) : 0;
}

/* The feature as a criterion; its texts are in the arena. */
static inline int
mine_criterion(mete_ctx *cx, const struct mine *m, uint32_t feature, double points,
               const char *source, mete_criterion *out)
{
    static const char *const said[] = {"has a number", "has items of a list", "asks a question"};
    static const char *const pattern[] = {"[0-9]", "(?m)^[ \\t]*[-*]", "\\?"};
    char *text = mete_arena(cx, 160), *target = mete_arena(cx, 160);
    if (!text || !target)
        return mete_fail(cx, METE_ENOMEM, "out of memory for a criterion");
    const char *check = "regex";
    if (feature == MINE_LONG) {
        check = "length";
        snprintf(text, 160, "has more than %.0f words", m->middle);
        snprintf(target, 160, "%.0f..1000000000", m->middle + 1);
    } else if (feature < MINE_FORMS) {
        snprintf(text, 160, "%s", said[feature]);
        snprintf(target, 160, "%s", pattern[feature]);
    } else {
        mete_text word = m->feature[feature].word;
        snprintf(text, 160, "says '%.*s'", (int)word.length, word.data);
        snprintf(target, 160, "(?i)(?<!\\w)%.*s(?!\\w)", (int)word.length, word.data);
    }
    *out = (mete_criterion){.size = sizeof *out,
                            .kind = METE_CRITERION_PROGRAM,
                            .text = mete_text_from(text),
                            .points = points,
                            .check = mete_text_from(check),
                            .target = mete_text_from(target),
                            .parent = -1,
                            .source = mete_text_from(source)};
    return METE_OK;
}
