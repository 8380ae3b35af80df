/* work.c - which published work a config reproduces, and whether figures are of it as it stands. */
#include "cli/work.h"

#include <mete/random.h>
#include <stdlib.h>
#include <string.h>

void
mete__work_read(mete__value *block, mete__work *work, mete__errors *errors)
{
    mete__value *at = block ? mete__value_get(block, "work") : NULL;
    *work = (mete__work){.number = NULL};
    if (!at)
        return;
    if (at->kind != METE__GROUP) {
        mete__errors_add(errors, "%s:%d: %s must be a group", at->file, at->line, at->path);
        return;
    }
    work->number = mete__value_string(at, "number", NULL, errors);
    work->title = mete__value_string(at, "title", NULL, errors);
    work->source = mete__value_string(at, "source", "", errors);
    work->says = mete__value_string(at, "says", "", errors);
    work->note = mete__value_string(at, "note", "", errors);
    work->needs = mete__value_string(at, "needs", "", errors);
    if (!errors->count && (!work->number || !work->title))
        mete__errors_add(errors, "%s:%d: %s wants number and title, both strings", at->file,
                         at->line, at->path);
    mete__value_unknown(at, "number title source says note needs", errors);
}

static bool
is_said(const mete__value *member)
{
    return member->name && (!strcmp(member->name, "ablate") || !strcmp(member->name, "report"));
}

uint64_t
mete__config_digest(mete__config *config)
{
    mete__value *root = mete__config_root(config), *said = NULL, **from = &root->first;
    while (*from) { /* what is said is taken out of the list for a moment */
        mete__value *member = *from;
        if (is_said(member)) {
            *from = member->next;
            member->next = said;
            said = member;
        } else {
            from = &member->next;
        }
    }
    char *text = mete__config_write(root);
    *from = said;
    for (root->last = root->first; root->last && root->last->next;)
        root->last = root->last->next;
    uint64_t digest = text ? mete_hash(1, text, strlen(text)) : 0;
    free(text);
    return digest;
}
