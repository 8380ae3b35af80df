/* template - criteria written from a record's fields by a bank of patterns.
 *
 * The field `slots` holds "slot[value], slot[value]". Each row of the bank applies to one slot:
 *   {"slot": "area", "value": "riverside", "check": "regex", "target": "river", "points": 1}
 * `value` "*" is any value. `when` says which prompts get the criterion:
 *   present  (default) the slot has this value          absent  the slot is not there
 *   other    the slot is there with another value
 * "{value}" in target and text stands for the slot's value. The first row that fits a slot with
 * `when` present is the slot's criterion; rows of the other kinds all apply.
 */
#include <mete/rubric.h>
#include <mete/text.h>
#include <string.h>

#define MOST_SLOTS 64

enum when { PRESENT, ABSENT, OTHER };

struct entry {
    mete_text slot, value, check, target, text;
    double points;
    enum when when;
};

struct template
{
    const mete_table *bank;
    mete_field slots;
    struct entry *entry;
    size_t entries;
};

static const mete_option options[] = {
    METE_DATA(struct template, bank, METE_REQUIRED,
              "the patterns: JSONL of slot, value, check, target"),
    METE_FIELD(struct template, slots, "prompt", METE_EPISODE, METE_TEXT, 0,
               "the column that holds \"slot[value], ...\""),
    METE_OPTIONS_END};

static mete_text
cell(const mete_table *bank, const char *name, size_t row)
{
    const mete_text *column = mete_table_text(bank, name);
    return column ? column[row] : (mete_text){NULL, 0};
}

static int
is(mete_text text, const char *word)
{
    return text.length == strlen(word) && memcmp(text.data, word, text.length) == 0;
}

static int
same(mete_text a, mete_text b)
{
    return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}

static int
open_template(mete_ctx *cx, void *self)
{
    struct template *p = self;
    p->entries = p->bank->rows;
    p->entry = mete_alloc(cx, (p->entries + 1) * sizeof *p->entry);
    if (!p->entry)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < p->entries; i++) {
        struct entry *e = &p->entry[i];
        mete_text points = cell(p->bank, "points", i), when = cell(p->bank, "when", i);
        e->slot = cell(p->bank, "slot", i);
        e->value = cell(p->bank, "value", i);
        e->check = cell(p->bank, "check", i);
        e->target = cell(p->bank, "target", i);
        e->text = cell(p->bank, "text", i);
        e->points = 1;
        if (!e->value.data)
            e->value = (mete_text){"*", 1};
        e->when = is(when, "absent") ? ABSENT : is(when, "other") ? OTHER : PRESENT;
        int known = !when.data || e->when != PRESENT || is(when, "present");
        if (!e->slot.data || !e->check.data || !e->target.data || !known ||
            (points.data && !mete_number_parse(points, METE_NUMBER_EXPONENT, &e->points)))
            return mete_fail(cx, METE_EDATA,
                             "%s:%llu: a row needs slot, check and target; when is "
                             "present, absent or other; points a number",
                             p->bank->file, (unsigned long long)p->bank->line[i]);
    }
    return METE_OK;
}

/* All slots of the text, at most MOST_SLOTS; returns how many. */
static size_t
parse_slots(mete_text text, mete_slot *slot)
{
    size_t count = 0, at = 0;
    while (count < MOST_SLOTS && mete_slot_next(text, &at, &slot[count]))
        count++;
    return count;
}

/* `text` with {value} replaced; in a pattern the value is quoted. */
static mete_text
filled(mete_ctx *cx, mete_text text, mete_text value, int quote)
{
    static const char mark[] = "{value}";
    char *out = mete_arena(cx, text.length + (text.length / 7 + 1) * (2 * value.length + 1) + 1);
    size_t length = 0;
    for (size_t i = 0; out && i < text.length;) {
        if (text.length - i >= 7 && memcmp(text.data + i, mark, 7) == 0) {
            for (size_t k = 0; k < value.length; k++) {
                if (quote && strchr("\\^$.|?*+()[]{}-", value.data[k]))
                    out[length++] = '\\';
                out[length++] = value.data[k];
            }
            i += 7;
        } else {
            out[length++] = text.data[i++];
        }
    }
    return (mete_text){out, length};
}

static int
add(mete_ctx *cx, mete_criteria *out, size_t row, const struct entry *e, mete_text value)
{
    int quote = is(e->check, "regex") || is(e->check, "not_regex") || is(e->check, "count");
    mete_criterion criterion = {.size = sizeof criterion,
                                .kind = METE_CRITERION_PROGRAM,
                                .id = e->slot,
                                .text = e->text.data ? filled(cx, e->text, value, 0) : e->slot,
                                .points = e->points,
                                .check = e->check,
                                .target = filled(cx, e->target, value, quote),
                                .parent = -1,
                                .source = {"template", 8}};
    if (!criterion.target.data)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    return mete_criterion_add(cx, out, row, &criterion);
}

static const mete_slot *
find(const mete_slot *slot, size_t slots, mete_text name)
{
    for (size_t i = 0; i < slots; i++)
        if (same(slot[i].name, name))
            return &slot[i];
    return NULL;
}

static int
generate(mete_ctx *cx, const void *self, const mete_batch *prompts, mete_criteria *out)
{
    const struct template *p = self;
    const mete_text *text = mete_text_of(prompts, &p->slots);
    int status = METE_OK;
    if (!text)
        return mete_fail(cx, METE_EDATA, "there is no column '%s'", p->slots.name);
    for (size_t row = 0; row < prompts->episodes && !status; row++) {
        mete_slot slot[MOST_SLOTS];
        size_t slots = text[row].data ? parse_slots(text[row], slot) : 0;
        for (size_t s = 0; s < slots && !status; s++)
            for (size_t i = 0; i < p->entries; i++) {
                const struct entry *e = &p->entry[i];
                if (e->when == PRESENT && same(e->slot, slot[s].name) &&
                    (is(e->value, "*") || same(e->value, slot[s].value))) {
                    status = add(cx, out, row, e, slot[s].value);
                    break;
                }
            }
        for (size_t i = 0; i < p->entries && !status; i++) {
            const struct entry *e = &p->entry[i];
            const mete_slot *there = find(slot, slots, e->slot);
            if (e->when == ABSENT ? there == NULL
                                  : e->when == OTHER && there && !same(there->value, e->value))
                status = add(cx, out, row, e, e->value);
        }
    }
    return status;
}

METE_RUBRIC_PLUGIN(
    template, "1.0", "criteria from a record's slots by a bank of patterns",
    .doc = "See conf/e2e_slots.jsonl for a bank: the slots of the E2E NLG restaurant domain.",
    .options = options, .state_size = sizeof(struct template), .open = open_template,
    .generate = generate);
