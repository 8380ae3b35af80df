/* ablate_arms.c - what an arm may be, and the values it sets.
 *
 *   full                 nothing
 *   -NODE                the node weighs 0; -A,-B: both
 *   reward=@NODE         the node alone is the reward
 *   PATH=VALUE           any value; where a group stands, a bare word is the plugin or preset that
 *                        takes its place (@NODE=length, objective=ppo) under its name and weight */
#include "cli/ablate.h"
#include "cli/override.h"

#include <ctype.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

static mete__arm *
add_arm(mete__ablation *a, const char *name, const char *place, mete__errors *errors)
{
    for (size_t k = 0; k < a->arms; k++)
        if (strcmp(a->arm[k].name, name) == 0) {
            mete__errors_add(errors, "%s: two arms are called \"%s\"", place, name);
            return NULL;
        }
    bool plain = *name && *name != '.' && strlen(name) <= 200;
    for (const char *c = name; *c; c++)
        plain = plain && *c != '/' && !isspace((unsigned char)*c) && !iscntrl((unsigned char)*c);
    if (!plain || a->arms == METE__MOST_ARMS) {
        mete__errors_add(errors,
                         plain ? "%s: arm \"%s\" is one too many: %d may be"
                               : "%s: \"%s\" cannot be a folder's name; say { name = \"...\"; set "
                                 "= [ ... ]; }",
                         place, name, METE__MOST_ARMS);
        return NULL;
    }
    mete__arm *arm = &a->arm[a->arms];
    if (!(arm->name = strdup(name)))
        return NULL;
    a->arms++;
    return arm;
}

static void
add_set(mete__arm *arm, const char *text, mete__errors *errors)
{
    char **grown = realloc(arm->set, (arm->sets + 1) * sizeof *grown);
    char *copy = grown ? strdup(text) : NULL;
    arm->set = grown ? grown : arm->set;
    if (copy)
        arm->set[arm->sets++] = copy;
    else
        mete__errors_add(errors, "out of memory");
}

/* ---- nodes ----------------------------------------------------------------------------------- */

/* Handles of all nodes below, space separated. */
static void
handles(const mete__value *value, mete_buffer *out)
{
    const char *name = NULL, *use = NULL;
    for (const mete__value *item = value->first; item; item = item->next) {
        if (item->kind == METE__GROUP || item->kind == METE__LIST)
            handles(item, out);
        else if (item->kind == METE__STRING && item->name && strcmp(item->name, "name") == 0)
            name = item->string;
        else if (item->kind == METE__STRING && item->name && strcmp(item->name, "use") == 0)
            use = item->string;
    }
    if (use)
        mete_buffer_format(out, "%s ", name ? name : use);
}

/* The group of a node, or NULL after an error that names the nearest. */
static mete__value *
find_node(mete__value *root, const char *name, size_t length, const mete__arm *arm,
          const char *place, mete__errors *errors)
{
    char path[300];
    snprintf(path, sizeof path, "@%.*s", (int)length, name);
    mete__value *found = mete__value_find(root, path);
    if (found && found->kind == METE__GROUP)
        return found;
    mete_buffer names = mete_buffer_make((size_t)1 << 20);
    handles(root, &names);
    mete_buffer_byte(&names, 0);
    char *near = names.status ? NULL : mete__nearest(path + 1, names.data);
    mete__errors_add(errors, "%s: arm \"%s\": no node is called '%s'%s%s%s", place, arm->name,
                     path + 1, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    free(near);
    mete_buffer_free(&names);
    return NULL;
}

static void
weigh(mete__arm *arm, const char *name, size_t length, const char *weight, mete__errors *errors)
{
    char text[340];
    snprintf(text, sizeof text, "@%.*s.weight=%s", (int)length, name, weight);
    add_set(arm, text, errors);
}

/* "-A" or "-A,-B". */
static void
leave_out(mete__value *root, const char *word, mete__arm *arm, const char *place,
          mete__errors *errors)
{
    for (const char *at = word; *at;) {
        size_t length = strcspn(at, ",");
        if (*at != '-' || length < 2) {
            mete__errors_add(errors, "%s: arm \"%s\": nodes left out are written -A,-B", place,
                             arm->name);
            return;
        }
        if (find_node(root, at + 1, length - 1, arm, place, errors))
            weigh(arm, at + 1, length - 1, "0.0", errors);
        at += length + (at[length] == ',');
    }
}

/* reward=@NODE. A child of a sum keeps its place, so that all that is measured still is: it weighs
 * 1 and its siblings 0. Any other node takes the root's place. */
static void
keep_alone(mete__value *root, const char *word, mete__arm *arm, const char *place,
           mete__errors *errors)
{
    const char *name = strchr(word, '@') + 1;
    mete__value *node = find_node(root, name, strlen(name), arm, place, errors);
    mete__value *reward = mete__value_get(root, "reward");
    mete__value *use = reward ? mete__value_get(reward, "use") : NULL;
    if (!node)
        return;
    bool in_sum = node->parent && node->parent->parent == reward && use &&
                  use->kind == METE__STRING && strcmp(use->string, "sum") == 0;
    for (mete__value *item = in_sum ? node->parent->first : NULL; item && in_sum; item = item->next)
        in_sum = item->kind == METE__GROUP && mete__value_get(item, "name");
    if (!in_sum) {
        add_set(arm, word, errors);
        return;
    }
    for (mete__value *item = node->parent->first; item; item = item->next) {
        mete__value *gold = mete__value_get(item, "gold");
        const char *handle = mete__value_string(item, "name", "", errors);
        if (!gold || !gold->integer)
            weigh(arm, handle, strlen(handle), item == node ? "1.0" : "0.0", errors);
    }
}

/* ---- words ----------------------------------------------------------------------------------- */

static void
take_word(mete__value *root, const char *word, mete__arm *arm, const char *place,
          mete__errors *errors)
{
    const char *equals = strchr(word, '=');
    if (!equals && strcmp(word, "full") == 0)
        return;
    if (!equals && *word == '-') {
        leave_out(root, word, arm, place, errors);
        return;
    }
    if (!equals || equals == word) {
        mete__errors_add(errors,
                         "%s: \"%s\": an arm is \"full\", \"-NODE\", \"reward=@NODE\" or "
                         "\"PATH=VALUE\"",
                         place, word);
        return;
    }
    if (strncmp(word, "reward=@", 8) == 0) {
        keep_alone(root, word, arm, place, errors);
        return;
    }
    if (*word == '@' && !find_node(root, word + 1, strcspn(word + 1, ".="), arm, place, errors))
        return;
    char *set = mete__override(root, word, place, errors);
    if (set)
        add_set(arm, set, errors);
    free(set);
}

/* A word, or { name = ...; set = [ WORD, ... ]; }. */
static void
read_arm(mete__ablation *a, mete__value *root, mete__value *item, mete__errors *errors)
{
    char place[512];
    snprintf(place, sizeof place, "%s:%d: %s", item->file, item->line, item->path);
    item->used = true;
    if (item->kind == METE__STRING) {
        mete__arm *arm = add_arm(a, item->string, place, errors);
        if (arm)
            take_word(root, item->string, arm, place, errors);
        return;
    }
    if (item->kind != METE__GROUP) {
        mete__errors_add(errors, "%s: an arm is a string or a group { name; set; }", place);
        return;
    }
    mete__value *sets = mete__value_get(item, "set");
    mete__arm *arm = add_arm(a, mete__value_string(item, "name", "", errors), place, errors);
    if (!sets || sets->kind != METE__LIST)
        mete__errors_add(errors, "%s: set = [ \"path=value\" ] is missing", place);
    for (mete__value *set = sets && arm ? sets->first : NULL; set; set = set->next) {
        set->used = true;
        if (set->kind == METE__STRING)
            take_word(root, set->string, arm, place, errors);
        else
            mete__errors_add(errors, "%s: an item of set is a string", place);
    }
    mete__value_unknown(item, "name set", errors);
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* Without arms: all, and each named child of the root left out. */
static void
default_arms(mete__ablation *a, mete__value *root, mete__errors *errors)
{
    mete__value *reward = mete__value_get(root, "reward");
    mete__value *children = reward ? mete__value_get(reward, "of") : NULL;
    add_arm(a, "full", a->config, errors);
    for (mete__value *child = children ? children->first : NULL; child; child = child->next) {
        mete__value *name = child->kind == METE__GROUP ? mete__value_get(child, "name") : NULL;
        mete__value *gold = name ? mete__value_get(child, "gold") : NULL;
        char word[300];
        if (!name || name->kind != METE__STRING || (gold && gold->integer))
            continue;
        snprintf(word, sizeof word, "-%s", name->string);
        mete__arm *arm = add_arm(a, word, a->config, errors);
        if (arm)
            leave_out(root, word, arm, a->config, errors);
    }
    if (a->arms < 2 && !errors->count)
        mete__errors_add(errors,
                         "%s: nothing to leave out: name the rewards under `of`, or give "
                         "ablate = { arms = ( ... ); } or --arm",
                         a->config);
}

/* Every combination of all arms but the first: arm k has what arm 1 + j sets when bit j of k is
 * set, named after what it has. */
static void
cross(mete__ablation *a, mete__errors *errors)
{
    size_t factors = a->arms - 1;
    if (a->arms < 3 || factors > METE__MOST_FACTORS) {
        mete__errors_add(errors, "%s: factorial wants 2 to %d arms beside the first, not %zu",
                         a->config, METE__MOST_FACTORS, a->arms ? factors : 0);
        return;
    }
    mete__arm factor[1 + METE__MOST_FACTORS], first = a->arm[0];
    memcpy(factor, a->arm + 1, factors * sizeof *factor);
    memset(a->arm, 0, (factors + 1) * sizeof *a->arm);
    a->arm[0] = first;
    a->arms = 1;
    a->factors = factors;
    for (size_t k = 1; k < (size_t)1 << factors; k++) {
        char name[1400] = "";
        for (size_t j = 0; j < factors; j++)
            if (k >> j & 1) {
                size_t used = strlen(name);
                snprintf(name + used, sizeof name - used, "%s%s", used ? "+" : "", factor[j].name);
            }
        mete__arm *arm = add_arm(a, name, a->config, errors);
        for (size_t i = 0; arm && i < first.sets; i++)
            add_set(arm, first.set[i], errors);
        for (size_t j = 0; arm && j < factors; j++)
            for (size_t i = 0; k >> j & 1 && i < factor[j].sets; i++)
                add_set(arm, factor[j].set[i], errors);
    }
    mete__ablation spare = {.arms = factors};
    memcpy(spare.arm, factor, factors * sizeof *factor);
    mete__arms_free(&spare);
}

void
mete__arms_read(mete__ablation *a, mete__value *root, mete__value *block, mete__errors *errors)
{
    mete__value *arms = block ? mete__value_get(block, "arms") : NULL;
    bool factorial = block && mete__value_bool(block, "factorial", false, errors);
    if (arms && arms->kind != METE__LIST)
        mete__errors_add(errors, "%s:%d: %s must be a list", arms->file, arms->line, arms->path);
    else if (a->args->words)
        add_arm(a, "full", "--arm", errors);
    else if (!arms)
        default_arms(a, root, errors);
    for (size_t i = 0; i < a->args->words; i++) {
        const char *word = a->args->word[i];
        mete__arm *arm = strcmp(word, "full") ? add_arm(a, word, "--arm", errors) : NULL;
        if (arm)
            take_word(root, word, arm, "--arm", errors);
    }
    for (mete__value *item = arms && arms->kind == METE__LIST && !a->args->words ? arms->first
                                                                                 : NULL;
         item; item = item->next)
        read_arm(a, root, item, errors);
    if (factorial && !errors->count)
        cross(a, errors);
    for (size_t k = 0; k < a->arms; k++)
        if (!(a->arm[k].value = calloc(a->seeds + 1, sizeof(double))))
            mete__errors_add(errors, "out of memory");
}

void
mete__arms_free(mete__ablation *a)
{
    for (size_t k = 0; k < a->arms; k++) {
        for (size_t s = 0; s < a->arm[k].sets; s++)
            free(a->arm[k].set[s]);
        free(a->arm[k].set);
        free(a->arm[k].name);
        free(a->arm[k].value);
    }
}
