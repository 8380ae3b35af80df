/* chat.c - chat templates: read from a config, rendered to pieces, encoded. */
#include "engine/config_tree.h"

#include <mete/chat.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST_BYTES 65536 /* of a template given as a text */

/* One role: around a run of its messages, and around each. */
struct role {
    const char *name;
    const char *open, *prefix, *suffix, *close;
};

struct mete_chat {
    mete__config *config; /* owns all strings */
    const char *begin, *answer, *system;
    const char **special;
    size_t specials;
    struct role *role;
    size_t roles;
    const struct role *system_role;
    bool trim;
};

/* ---- reading --------------------------------------------------------------------------------- */

static int
out_of_memory(mete_error *err)
{
    return mete_error_set(err, METE_ENOMEM, "out of memory for a chat template");
}

static void
read_special(mete_chat *chat, mete__value *root, mete__errors *errors)
{
    mete__value *list = mete__value_get(root, "special");
    if (!list)
        return;
    if (list->kind != METE__LIST) {
        mete__errors_add(errors, "%s:%d: special: wants a list of strings", list->file, list->line);
        return;
    }
    chat->special = calloc(list->count + 1, sizeof *chat->special);
    for (mete__value *at = list->first; chat->special && at; at = at->next) {
        if (at->kind != METE__STRING || !*at->string)
            mete__errors_add(errors, "%s:%d: special: wants strings that are not empty", at->file,
                             at->line);
        else
            chat->special[chat->specials++] = at->string;
    }
}

static void
read_roles(mete_chat *chat, mete__value *root, mete__errors *errors)
{
    mete__value *roles = mete__value_get(root, "roles");
    if (!roles || roles->kind != METE__GROUP || !roles->count) {
        mete__errors_add(errors, "%s:%d: roles: wants a group with a member for each role",
                         roles ? roles->file : root->file, roles ? roles->line : root->line);
        return;
    }
    chat->role = calloc(roles->count, sizeof *chat->role);
    for (mete__value *at = roles->first; chat->role && at; at = at->next) {
        struct role *role = &chat->role[chat->roles];
        at->used = true;
        if (at->kind != METE__GROUP) {
            mete__errors_add(errors, "%s:%d: %s: wants a group", at->file, at->line, at->path);
            continue;
        }
        chat->roles++;
        role->name = at->name;
        role->open = mete__value_string(at, "open", "", errors);
        role->prefix = mete__value_string(at, "prefix", "", errors);
        role->suffix = mete__value_string(at, "suffix", "", errors);
        role->close = mete__value_string(at, "close", "", errors);
        mete__value_unknown(at, "open prefix suffix close", errors);
        if (strcmp(role->name, "system") == 0)
            chat->system_role = role;
    }
}

/* Takes the config, whatever comes of it. */
static mete_chat *
make(mete__config *config, mete__errors *errors, mete_error *err)
{
    mete_chat *chat = config ? calloc(1, sizeof *chat) : NULL;
    if (chat) {
        mete__value *root = mete__config_root(config);
        chat->config = config;
        read_special(chat, root, errors);
        read_roles(chat, root, errors);
        chat->begin = mete__value_string(root, "begin", "", errors);
        chat->answer = mete__value_string(root, "answer", "", errors);
        chat->system = mete__value_string(root, "default_system", NULL, errors);
        chat->trim = mete__value_bool(root, "trim", false, errors);
        mete__value_unknown(root, "special roles begin answer default_system trim", errors);
        if (chat->system && !chat->system_role && !errors->count)
            mete__errors_add(errors, "%s: default_system: there is no role `system`", root->file);
        if (!errors->count)
            return chat;
    } else if (config) {
        mete__config_free(config);
        out_of_memory(err);
        return NULL;
    }
    if (errors->count)
        mete_error_set(err, METE_EINVAL, "%s", errors->line[0]);
    else
        out_of_memory(err);
    mete_chat_free(chat);
    return NULL;
}

mete_chat *
mete_chat_read(const char *name, mete_text text, mete_error *err)
{
    mete__errors errors = {0};
    if (text.length > MOST_BYTES) {
        mete_error_set(err, METE_EINVAL, "%s: a chat template of more than %d bytes", name,
                       MOST_BYTES);
        return NULL;
    }
    mete__config *config =
        mete__config_parse(name, text.data ? text.data : "", text.length, NULL, 0, &errors);
    mete_chat *chat = make(config, &errors, err);
    mete__errors_free(&errors);
    return chat;
}

static bool
is_path(const char *name)
{
    return strchr(name, '/') || mete_text_ends(mete_text_from(name), mete_text_from(".cfg"));
}

/* The file of a shipped template; NULL with an error that names those there are. */
static char *
find_shipped(const char *name, mete_error *err)
{
    mete__config *nowhere = mete__config_new("conf/chat");
    char *path = nowhere ? mete__conf_find(nowhere, "chat", name) : NULL;
    char *names = nowhere && !path ? mete__conf_names(nowhere, "chat") : NULL;
    if (!path)
        mete_error_set(err, METE_EINVAL, "no chat template is called '%s'; there are: %s", name,
                       names && *names ? names : "none");
    free(names);
    mete__config_free(nowhere);
    return path;
}

mete_chat *
mete_chat_open(const char *name, mete_error *err)
{
    mete__errors errors = {0};
    char *shipped = is_path(name) ? NULL : find_shipped(name, err);
    if (!shipped && !is_path(name))
        return NULL;
    mete__config *config = mete__config_read(shipped ? shipped : name, NULL, 0, &errors);
    mete_chat *chat = make(config, &errors, err);
    free(shipped);
    mete__errors_free(&errors);
    return chat;
}

void
mete_chat_free(mete_chat *chat)
{
    if (!chat)
        return;
    mete__config_free(chat->config);
    free(chat->special);
    free(chat->role);
    free(chat);
}

/* ---- rendering ------------------------------------------------------------------------------- */

void
mete_pieces_free(mete_pieces *pieces)
{
    mete_buffer_free(&pieces->text);
    free(pieces->piece);
    *pieces = (mete_pieces){0};
}

static int
put(mete_pieces *out, mete_text text, int special, mete_error *err)
{
    mete_piece *last = out->count ? &out->piece[out->count - 1] : NULL;
    if (!text.length)
        return METE_OK;
    if (mete_buffer_text(&out->text, text))
        return mete_error_set(err, out->text.status, "no room for a rendered conversation");
    if (last && !special && !last->special) {
        last->end += text.length;
        return METE_OK;
    }
    if (out->count == out->room) {
        size_t room = out->room ? 2 * out->room : 32;
        mete_piece *piece = realloc(out->piece, room * sizeof *piece);
        if (!piece)
            return out_of_memory(err);
        out->piece = piece;
        out->room = room;
    }
    out->piece[out->count++] =
        (mete_piece){out->text.length - text.length, out->text.length, special};
    return METE_OK;
}

/* A string of the template: its special tokens are found, the longest where several begin. */
static int
put_template(const mete_chat *chat, const char *string, mete_pieces *out, mete_error *err)
{
    mete_text text = mete_text_from(string);
    size_t done = 0, at = 0;
    int status = METE_OK;
    while (at < text.length && !status) {
        size_t longest = 0;
        for (size_t k = 0; k < chat->specials; k++) {
            mete_text special = mete_text_from(chat->special[k]);
            if (special.length > longest &&
                mete_text_starts(mete_text_slice(text, at, text.length), special))
                longest = special.length;
        }
        if (longest) {
            status = put(out, mete_text_slice(text, done, at), 0, err);
            if (!status)
                status = put(out, mete_text_slice(text, at, at + longest), 1, err);
            done = at + longest;
        }
        at += longest ? longest : 1;
    }
    return status ? status : put(out, mete_text_slice(text, done, text.length), 0, err);
}

/* White space as the templates' own language strips it: Unicode's, and the four separators. */
static bool
is_stripped(uint32_t code)
{
    return mete_code_is_space(code) || (code >= 0x1c && code <= 0x1f);
}

static mete_text
strip(mete_text text)
{
    size_t from = 0, to = text.length;
    for (size_t next = 0; from < to; from = next)
        if (!is_stripped(mete_utf8_next(text, &next)))
            break;
    while (to > from) {
        size_t at = mete_utf8_floor(text, to - 1), next = at;
        if (!is_stripped(mete_utf8_next(text, &next)) || next != to)
            break;
        to = at;
    }
    return mete_text_slice(text, from, to);
}

static const struct role *
find_role(const mete_chat *chat, mete_text name, mete_error *err)
{
    char names[400] = "";
    size_t used = 0;
    for (size_t i = 0; i < chat->roles; i++)
        if (mete_text_is(name, chat->role[i].name))
            return &chat->role[i];
    for (size_t i = 0; i < chat->roles && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "",
                                 chat->role[i].name);
    mete_error_set(err, METE_EINVAL, "the chat template has no role '%.*s'; it has: %s",
                   (int)(name.length < 60 ? name.length : 60), name.data ? name.data : "", names);
    return NULL;
}

static int
put_message(const mete_chat *chat, const struct role *role, mete_text content, bool opens,
            bool closes, mete_pieces *out, mete_error *err)
{
    int status = opens ? put_template(chat, role->open, out, err) : METE_OK;
    if (!status)
        status = put_template(chat, role->prefix, out, err);
    if (!status)
        status = put(out, chat->trim ? strip(content) : content, 0, err);
    if (!status)
        status = put_template(chat, role->suffix, out, err);
    if (!status && closes)
        status = put_template(chat, role->close, out, err);
    return status;
}

int
mete_chat_render(const mete_chat *chat, const mete_chat_message *message, size_t messages,
                 unsigned flags, mete_pieces *out, mete_error *err)
{
    const struct role *role = NULL, *next = NULL;
    int status = METE_OK;
    mete_buffer_clear(&out->text);
    out->count = 0;
    if (messages) {
        status = put_template(chat, chat->begin, out, err);
        if (!(next = find_role(chat, message[0].role, err)))
            return METE_EINVAL;
        if (!status && chat->system && next != chat->system_role)
            status = put_message(chat, chat->system_role, mete_text_from(chat->system), true, true,
                                 out, err);
    }
    for (size_t i = 0; i < messages && !status; i++) {
        const struct role *last = role;
        role = next;
        next = NULL;
        if (i + 1 < messages && !(next = find_role(chat, message[i + 1].role, err)))
            return METE_EINVAL;
        status = put_message(chat, role, message[i].content, role != last, role != next, out, err);
    }
    if (!status && (flags & METE_CHAT_ANSWER))
        status = put_template(chat, chat->answer, out, err);
    return status;
}

/* ---- encoding -------------------------------------------------------------------------------- */

static int
encode_piece(const mete_tokeniser *tokeniser, mete_text text, const mete_piece *piece,
             mete_tokens *out, mete_error *err)
{
    mete_text part = mete_text_slice(text, piece->start, piece->end);
    size_t from = out->count;
    if (piece->special && mete_tokeniser_special(tokeniser, part) < 0)
        return mete_error_set(err, METE_EINVAL, "the tokeniser has no token %.*s",
                              (int)(part.length < 60 ? part.length : 60), part.data);
    int status =
        mete_tokeniser_encode(tokeniser, part, piece->special ? METE_ENCODE_SPECIALS : 0, out, err);
    for (size_t i = from; i < out->count; i++) {
        out->start[i] += (uint32_t)piece->start;
        out->end[i] += (uint32_t)piece->start;
    }
    return status;
}

int
mete_pieces_encode(const mete_tokeniser *tokeniser, const mete_pieces *pieces, mete_tokens *out,
                   mete_error *err)
{
    mete_text text = mete_buffer_view(&pieces->text);
    size_t before = out->count;
    int status = METE_OK;
    if (text.length >= UINT32_MAX)
        return mete_error_set(err, METE_EINVAL, "a text of %zu bytes; less than 4 GiB are encoded",
                              text.length);
    for (size_t i = 0; i < pieces->count && !status; i++)
        status = encode_piece(tokeniser, text, &pieces->piece[i], out, err);
    if (status)
        out->count = before;
    return status;
}
