/* tree.c - the tree that scores, and the one that takes its place at a reload. */
#include "serve/serve.h"

#include <mete/random.h>
#include <stdlib.h>
#include <string.h>

void
mete__tree_close(mete__tree *tree)
{
    mete_close(tree->scorer);
    free(tree->count);
    free(tree->sum);
    free(tree);
}

static mete__tree *
open_tree(mete__server *server, const mete__engine_options *engine, mete__errors *errors)
{
    mete__tree *tree = calloc(1, sizeof *tree);
    if (!tree) {
        mete__errors_add(errors, "out of memory");
        return NULL;
    }
    tree->scorer = mete__scorer_open(server->config, server->set, server->sets,
                                     server->options.threads, engine, errors);
    if (!tree->scorer) {
        free(tree);
        return NULL;
    }
    const mete__rows *rows = mete__scorer_rows(tree->scorer);
    unsigned flags = mete__scorer_flags(tree->scorer);
    const char *label =
        *server->options.label ? server->options.label : mete_label_name(tree->scorer);
    tree->setting = (mete__setting){rows->prompt_from, rows->response_from, mete_text_from(label),
                                    rows->tokeniser, server->options.bare};
    tree->quick = !(flags & METE_WAITS) && !mete__scorer_asks(tree->scorer);
    tree->whole = flags & METE_WHOLE_BATCH;
    tree->users = 1;
    size_t nodes;
    mete__engine_nodes(mete__scorer_engine(tree->scorer), &nodes);
    tree->count = calloc(nodes + 1, sizeof *tree->count);
    tree->sum = calloc(nodes + 1, sizeof *tree->sum);
    if (!tree->count || !tree->sum) {
        mete__errors_add(errors, "out of memory");
        mete__tree_close(tree);
        return NULL;
    }
    char *text = mete__config_write(mete__config_root(mete__scorer_config(tree->scorer)));
    uint64_t hash = text ? mete_hash(0, text, strlen(text)) : 0;
    free(text);
    snprintf(tree->version, sizeof tree->version, "%08x.%u", (unsigned)(hash >> 32),
             ++server->loads);
    return tree;
}

bool
mete__tree_load(mete__server *server, const mete__engine_options *engine, mete__errors *errors)
{
    mete__tree *tree = open_tree(server, engine, errors);
    if (!tree)
        return false;
    pthread_mutex_lock(&server->lock);
    mete__tree *old = server->tree;
    server->tree = tree;
    pthread_mutex_unlock(&server->lock);
    if (old)
        mete__tree_leave(server, old);
    return true;
}

mete__tree *
mete__tree_use(mete__server *server)
{
    pthread_mutex_lock(&server->lock);
    mete__tree *tree = server->tree;
    tree->users++;
    pthread_mutex_unlock(&server->lock);
    return tree;
}

void
mete__tree_leave(mete__server *server, mete__tree *tree)
{
    if (!tree)
        return;
    pthread_mutex_lock(&server->lock);
    bool last = --tree->users == 0;
    pthread_mutex_unlock(&server->lock);
    if (!last)
        return;
    mete__tree_close(tree);
}
