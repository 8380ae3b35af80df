/* methods.c - mete methods CONFIG...: the page of the published works that configs reproduce, with
 * what was measured when their claims were last checked. */
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/work.h"
#include "report/page.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: mete methods CONFIG...\n\n"
    "Prints, as Markdown, the published works that the configs reproduce: work, rewards, claim,\n"
    "measured effect with its interval, seeds, verdict. A config tells the work in `ablate.work`;\n"
    "what was measured is the ablation.json that `mete ablate CONFIG --check` leaves in its "
    "folder,\n"
    "kept as results/NAME.json beside NAME.cfg. A claim without one is shown as not measured, and\n"
    "one measured before the config was changed as such.\n";

typedef struct entry {
    const char *path;
    mete__config *config;
    mete__work work;
    mete__value *claim; /* a string or a list of them; NULL: none */
    mete_json *result;  /* NULL: not measured */
    bool stale;
} entry;

static int
by_number(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int order = strcmp(x->work.number, y->work.number);
    return order ? order : strcmp(x->path, y->path);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The result kept beside the config. METE_OK with NULL where there is none. */
static int
read_result(entry *e, mete_error *err)
{
    char folder[PATH_MAX], name[PATH_MAX], path[PATH_MAX];
    const char *slash = strrchr(e->path, '/'), *file = slash ? slash + 1 : e->path;
    const char *dot = strrchr(file, '.');
    int stem = dot ? (int)(dot - file) : (int)strlen(file);
    if (snprintf(folder, sizeof folder, "%.*sresults", (int)(file - e->path), e->path) >=
            (int)sizeof folder ||
        snprintf(name, sizeof name, "%.*s.json", stem, file) >= (int)sizeof name ||
        snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return mete_error_set(err, METE_EINVAL, "%s: such a path is too long", e->path);
    if (access(path, F_OK))
        return METE_OK;
    int status = mete__page_json(folder, name, &e->result, err);
    if (status)
        return status;
    char digest[32];
    char *kept = mete__page_member(e->result, "digest");
    snprintf(digest, sizeof digest, "%016" PRIx64, mete__config_digest(e->config));
    e->stale = !kept || strcmp(kept, digest) != 0;
    free(kept);
    return METE_OK;
}

/* An exit code; said what was wrong. */
static int
read_entry(const mete__args *args, const char *path, entry *e)
{
    mete__errors errors = {0};
    mete_error err = {0};
    e->path = path;
    e->config = mete__read_config(args, path);
    if (!e->config)
        return METE__EXIT_INPUT;
    mete__value *block = mete__value_get(mete__config_root(e->config), "ablate");
    if (block && block->kind == METE__GROUP) {
        mete__work_read(block, &e->work, &errors);
        e->claim = mete__value_get(block, "claim");
    }
    if (!errors.count && !e->work.number)
        mete__errors_add(&errors,
                         "%s: there is no ablate.work in it: which work does it reproduce?", path);
    if (errors.count)
        return mete__report(&errors);
    if (read_result(e, &err)) {
        mete__say("%s", err.message);
        return METE__EXIT_INPUT;
    }
    return METE__EXIT_DONE;
}

/* ---- the page -------------------------------------------------------------------------------- */

/* Into a cell of a table: what Markdown or HTML would take for its own is escaped. */
static void
put_cell(mete_buffer *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (strchr("|\\`*_[]", *c))
            mete_buffer_byte(out, '\\');
        if (*c == '<' || *c == '>')
            mete_buffer_string(out, *c == '<' ? "&lt;" : "&gt;");
        else
            mete_buffer_byte(out, *c == '\n' ? ' ' : *c);
    }
}

/* The plugins of a tree of rewards, each once, gold apart from what is learnt from. */
static void
put_plugins(mete_buffer *out, const mete__value *at, bool gold, bool wanted, mete_buffer *seen)
{
    const mete__value *use = NULL;
    for (const mete__value *m = at->first; m && at->kind == METE__GROUP; m = m->next) {
        use = m->name && !strcmp(m->name, "use") && m->kind == METE__STRING ? m : use;
        gold |= m->name && !strcmp(m->name, "gold") && m->kind == METE__BOOL && m->integer;
    }
    if (use && gold == wanted) {
        char word[256];
        snprintf(word, sizeof word, " %s ", use->string);
        mete_buffer_byte(seen, 0);
        bool known = seen->data && strstr(seen->data, word);
        seen->length -= seen->data ? 1 : 0;
        if (!known) {
            mete_buffer_string(out, seen->length ? ", " : "");
            put_cell(out, use->string);
            mete_buffer_string(seen, word);
        }
    }
    for (const mete__value *m = at->first; m; m = m->next)
        put_plugins(out, m, gold, wanted, seen);
}

static const mete_json *
claim_of(const entry *e, const char *text)
{
    const mete_json *claims = e->result ? mete_json_get(e->result, "claims") : NULL;
    for (const mete_json *c = mete_json_first(claims); c; c = mete_json_next(c))
        if (mete_text_is(mete_json_text(mete_json_get(c, "text")), text))
            return c;
    return NULL;
}

static double
number_of(const mete_json *object, const char *name)
{
    return mete_json_number(mete_json_get(object, name));
}

static void
put_measured(mete_buffer *out, const entry *e, const mete_json *claim)
{
    char *metric = mete__page_member(e->result, "metric");
    put_cell(out, metric && *metric == '-' ? metric + 1 : metric ? metric : "?");
    free(metric);
    mete_buffer_format(
        out, ": %+.3g (%+.3g to %+.3g) | %.0f from %.0f | %s%s |\n", number_of(claim, "difference"),
        number_of(claim, "difference_lo"), number_of(claim, "difference_hi"),
        number_of(e->result, "seeds"), number_of(e->result, "seeds_from"),
        mete_json_bool(mete_json_get(claim, "holds")) == 1 ? "holds" : "**does not hold**",
        e->stale ? " (of the config before it was changed)" : "");
}

static void
put_unmeasured(mete_buffer *out, const entry *e)
{
    mete_buffer_string(out, *e->work.needs ? " | | needs " : " | | not measured");
    put_cell(out, e->work.needs);
    mete_buffer_string(out, " |\n");
}

static void
put_claim(mete_buffer *out, const entry *e, const char *claim, bool first)
{
    mete_buffer seen = mete_buffer_make(0);
    const mete__value *reward = mete__value_get(mete__config_root(e->config), "reward");
    mete_buffer_string(out, "| ");
    if (first) {
        mete_buffer_format(out, "**%s** ", e->work.number);
        put_cell(out, e->work.title);
        mete_buffer_string(out, *e->work.source ? ", " : "");
        put_cell(out, e->work.source);
        mete_buffer_format(out, " ([config](../%s))", e->path);
    }
    mete_buffer_string(out, " | ");
    if (first && reward)
        put_plugins(out, reward, false, false, &seen);
    mete_buffer_string(out, " | ");
    put_cell(out, claim);
    mete_buffer_string(out, " | ");
    const mete_json *measured = claim_of(e, claim);
    if (measured)
        put_measured(out, e, measured);
    else
        put_unmeasured(out, e);
    mete_buffer_free(&seen);
}

static void
put_table(mete_buffer *out, const entry *entries, size_t count)
{
    mete_buffer_string(out, "| work | rewards | claim | measured difference | seeds | verdict |\n"
                            "|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < count; i++) {
        const entry *e = &entries[i];
        const mete__value *claim = e->claim;
        if (claim && claim->kind == METE__LIST)
            claim = claim->first;
        for (bool first = true; claim; first = false) {
            if (claim->kind == METE__STRING)
                put_claim(out, e, claim->string, first);
            claim = e->claim->kind == METE__LIST ? claim->next : NULL;
        }
        if (!e->claim)
            put_claim(out, e, "none", true);
    }
}

static void
put_words(mete_buffer *out, const entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const mete__work *w = &entries[i].work;
        if (!*w->says && !*w->note)
            continue;
        mete_buffer_format(out, "\n**%s** ", w->number);
        put_cell(out, w->title);
        mete_buffer_string(out, ". ");
        put_cell(out, w->says);
        mete_buffer_string(out, *w->says && *w->note ? " " : "");
        put_cell(out, w->note);
        mete_buffer_string(out, "\n");
    }
}

static void
put_page(mete_buffer *out, const entry *entries, size_t count)
{
    mete_buffer_string(
        out,
        "# Methods\n\n"
        "Published works as configs: what each claims, and what its last check measured. A "
        "claim compares two arms\nof the config's `ablate` block over the same seeds: the mean "
        "of the paired differences with Student's\ninterval at the claim's confidence (95% "
        "where it says nothing). It holds where the whole interval is\nbeyond its margin. "
        "Seeds are not those that the config was tuned on. What does not hold stays here.\n\n"
        "This page is written by `make methods` from the configs and their results; a family "
        "is checked anew by\n`make check-methods FAMILY=judge`, on other seeds with "
        "`SEEDS_FROM=N`.\n\n");
    put_table(out, entries, count);
    mete_buffer_string(out, "\n## What the claims say\n");
    put_words(out, entries, count);
}

int
mete__command_methods(int argc, char **argv)
{
    mete__args args;
    int code;
    if (!mete__args_read(argc, argv, "", 1, 1000, usage, &args, &code))
        return code;
    entry *entries = calloc(args.operands, sizeof *entries);
    code = entries ? METE__EXIT_DONE : METE__EXIT_FAILED;
    for (size_t i = 0; i < args.operands && !code; i++)
        code = read_entry(&args, args.operand[i], &entries[i]);
    if (!code) {
        mete_buffer page = mete_buffer_make(0);
        qsort(entries, args.operands, sizeof *entries, by_number);
        put_page(&page, entries, args.operands);
        mete__put_out(&page);
        mete_buffer_free(&page);
    }
    for (size_t i = 0; entries && i < args.operands; i++) {
        mete_json_free(entries[i].result);
        if (entries[i].config)
            mete__config_free(entries[i].config);
    }
    free(entries);
    mete__args_free(&args);
    return code;
}
