/* resolve.c - makes the file names in a config absolute, so that the copy in the run folder names
 * the same files from there. Which values are file names the option tables say; nothing is guessed.
 */
#include "cli/train.h"

#include <stdlib.h>
#include <string.h>

static bool
resolve_value(mete__training *training, mete__value *value)
{
    if (!value || value->kind != METE__STRING || *value->string == '/' || !*value->string)
        return true;
    char *path = mete__value_file(value);
    char *full = path ? realpath(path, NULL) : NULL;
    free(path);
    if (!full)
        return true; /* the plugin that reads it says what is wrong */
    char **wider = realloc(training->path, (training->paths + 1) * sizeof *wider);
    if (!wider) {
        free(full);
        return false;
    }
    training->path = wider;
    training->path[training->paths++] = full;
    value->string = full;
    return true;
}

static bool
resolve_group(mete__training *training, mete__value *group, const mete_option *option, int depth)
{
    bool good = true;
    for (; option && option->name && good && group && group->kind == METE__GROUP; option++) {
        mete__value *value = mete__value_get(group, option->name);
        if (!value)
            continue;
        if (option->type == METE_OPTION_FILE)
            good = resolve_value(training, value);
        else if (option->type == METE_OPTION_DATA)
            good = resolve_value(
                training, value->kind == METE__GROUP ? mete__value_get(value, "file") : value);
        else if (option->type == METE_OPTION_LIST && depth < 8)
            for (mete__value *item = value->first; item && good; item = item->next)
                good = resolve_group(training, item, option->rows, depth + 1);
    }
    return good;
}

/* Files that stages learn from. */
static bool
resolve_stages(mete__training *training, mete__value *list)
{
    bool good = true;
    for (mete__value *stage = list ? list->first : NULL; stage && good; stage = stage->next) {
        mete__value *data = stage->kind == METE__GROUP ? mete__value_get(stage, "data") : NULL;
        if (data)
            good = resolve_value(training,
                                 data->kind == METE__GROUP ? mete__value_get(data, "file") : data);
        if (good && stage->kind == METE__GROUP)
            good = resolve_stages(training, mete__value_get(stage, "stages"));
    }
    return good;
}

bool
mete__training_resolve(mete__training *training)
{
    size_t count;
    bool good = true;
    mete_node *const *node = mete__engine_nodes(training->engine, &count);
    for (size_t i = 0; i < count && good; i++)
        if (node[i]->plugin && node[i]->at) {
            mete__value *core = mete__value_get(node[i]->at, "node");
            good = resolve_group(training, node[i]->at, node[i]->plugin->as.head.options, 0) &&
                   (!core || core->kind != METE__GROUP ||
                    resolve_value(training, mete__value_get(core, "from")));
        }
    mete__value *policy = mete__value_get(mete__config_root(training->config), "policy");
    if (good && policy)
        good = resolve_value(training, mete__value_get(policy, "from"));
    if (good)
        good = resolve_stages(training,
                              mete__value_get(mete__config_root(training->config), "stages"));
    return good;
}
