/* rows.c - takes records apart into slots, and makes a batch of the good ones.
 *
 * Invariants: a slot is written by one part only; a row lacking a required column, or whose value
 * has the wrong type, is bad and in no batch: never a made-up value.
 */
#include "score/rows.h"

#include <math.h>
#include <mete/random.h>
#include <stdlib.h>
#include <string.h>

#include "score/messages.h"

static size_t
element_size(uint32_t level, uint32_t element)
{
    if (level == METE_LIST)
        return sizeof(mete_texts);
    switch (element) {
    case METE_F32:
    case METE_I32:
        return 4;
    case METE_F64:
    case METE_I64:
        return 8;
    case METE_U8:
        return 1;
    default:
        return sizeof(mete_text);
    }
}

/* ---- which columns --------------------------------------------------------------------------- */

static mete_text
source(mete__value *data, mete__value *map, const char *name, mete__errors *errors)
{
    const char *from = map ? mete__value_string(map, name, NULL, errors) : NULL;
    static const char *const own[] = {"prompt", "response", "group", "id"};
    for (size_t i = 0; data && !from && i < 4; i++)
        if (strcmp(own[i], name) == 0)
            from = mete__value_string(data, name, NULL, errors);
    return mete_text_from(from ? from : name);
}

static void
want(mete__rows *rows, const mete_node *node, const mete_field *field, mete__value *data,
     mete__value *map, mete__errors *errors)
{
    bool required = !(field->flags & METE_OPTIONAL);
    if (!field->name)
        return;
    for (size_t i = 0; i < rows->wanteds; i++) {
        mete__wanted *w = &rows->wanted[i];
        if (w->level == field->level && w->element == field->element &&
            strcmp(w->name, field->name) == 0) {
            w->required |= required;
            return;
        }
    }
    if (field->level != METE_EPISODE && field->level != METE_GROUP &&
        !(field->level == METE_LIST &&
          (field->element == METE_TEXT || field->element == METE_JSON))) {
        if (required)
            mete__errors_add(errors,
                             "%s: reads \"%s\" at a level that records do not have (one value, or "
                             "a list of texts, a record)",
                             node->path, field->name);
        return;
    }
    mete__wanted *wider = realloc(rows->wanted, (rows->wanteds + 1) * sizeof *wider);
    if (!wider) {
        mete__errors_add(errors, "out of memory");
        return;
    }
    rows->wanted = wider;
    rows->wanted[rows->wanteds++] = (mete__wanted){.name = field->name,
                                                   .from = source(data, map, field->name, errors),
                                                   .level = field->level,
                                                   .element = field->element,
                                                   .required = required,
                                                   .node = node->path};
}

/* `data.tokeniser`: "words", or a tokenizer.json. A row's steps are the tokens of its response, so
 * that rewards of tokens have somewhere to go. */
static void
read_tokeniser(mete__rows *rows, mete__value *data, mete__errors *errors)
{
    mete__value *value = data ? mete__value_get(data, "tokeniser") : NULL;
    const char *name = value ? mete__value_string(data, "tokeniser", NULL, errors) : NULL;
    mete_error err = {0};
    if (!name)
        return;
    rows->words = strcmp(name, "words") == 0;
    char *path = rows->words ? NULL : mete__value_file(value);
    if (path && !(rows->tokeniser = mete_tokeniser_open(path, &err)))
        mete__errors_add(errors, "%s:%d: data.tokeniser: %s", value->file, value->line,
                         err.message);
    free(path);
}

mete__rows *
mete__rows_new(mete__engine *engine, mete__config *config, mete__errors *errors)
{
    mete__rows *rows = calloc(1, sizeof *rows);
    mete__value *data = mete__value_get(mete__config_root(config), "data");
    if (!rows) {
        mete__errors_add(errors, "out of memory");
        return NULL;
    }
    if (data && data->kind != METE__GROUP) {
        mete__errors_add(errors, "%s:%d: data: must be a group, data = { ... };", data->file,
                         data->line);
        data = NULL;
    }
    mete__value *map = data ? mete__value_get(data, "map") : NULL;
    if (map && map->kind != METE__GROUP) {
        mete__errors_add(errors, "%s:%d: data.map: must be a group, map = { column = \"key\"; };",
                         map->file, map->line);
        map = NULL;
    }
    rows->prompt_from = source(data, map, "prompt", errors);
    rows->response_from = source(data, map, "response", errors);
    rows->group_from = source(data, map, "group", errors);
    rows->id_from = source(data, map, "id", errors);
    read_tokeniser(rows, data, errors);
    size_t count;
    mete_node *const *node = mete__engine_nodes(engine, &count);
    for (size_t i = 0; i < count; i++) {
        rows->hash_all |= node[i]->kind == METE_KIND_RUBRIC;
        if (node[i]->kind == METE_KIND_REWARD || node[i]->kind == METE_KIND_RUBRIC)
            for (size_t f = 0; f < node[i]->fields; f++)
                want(rows, node[i], &node[i]->field[f], data, map, errors);
    }
    if (data)
        mete__value_unknown(data, "map prompt response group id tokeniser", errors);
    if (map) {
        mete_buffer names = {0};
        mete_buffer_string(&names, "prompt response group id");
        for (size_t i = 0; i < rows->wanteds; i++)
            mete_buffer_format(&names, " %s", rows->wanted[i].name);
        mete__value_unknown(map, names.data ? names.data : "", errors);
        mete_buffer_free(&names);
    }
    rows->column = calloc(rows->wanteds ? rows->wanteds : 1, sizeof *rows->column);
    if (!rows->column)
        mete__errors_add(errors, "out of memory");
    return rows;
}

static void
free_slots(mete__rows *rows)
{
    void *all[] = {rows->prompt,     rows->response,  rows->id_json, rows->group_key, rows->bad,
                   rows->id,         rows->prompt_id, rows->slot_of, rows->group,     rows->zero,
                   rows->step_begin, rows->zeros,     rows->ones,    rows->call};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    for (size_t i = 0; i < rows->wanteds; i++) {
        mete__wanted *w = &rows->wanted[i];
        void *own[] = {w->value, w->valid, w->offset, w->group, w->group_valid};
        for (size_t k = 0; k < sizeof own / sizeof *own; k++)
            free(own[k]);
    }
}

void
mete__rows_free(mete__rows *rows)
{
    if (!rows)
        return;
    free_slots(rows);
    for (size_t i = 0; i < rows->wanteds; i++)
        free(rows->wanted[i].item);
    mete_tokens_free(&rows->tokens);
    mete_tokeniser_free(rows->tokeniser);
    free(rows->span);
    free(rows->step_row);
    free(rows->wanted);
    free(rows->column);
    free(rows);
}

/* calloc of one array, remembering a failure. */
static void *
take_array(size_t count, size_t size, bool *good)
{
    void *array = calloc(count, size);
    *good &= array != NULL;
    return array;
}

bool
mete__rows_begin(mete__rows *rows, size_t slots, uint64_t number)
{
    rows->number = number;
    rows->slots = slots;
    if (rows->room && slots <= rows->room) {
        mete__rows_call(rows, 0, slots);
        return true;
    }
    size_t n = slots + 1;
    bool good = true;
    free_slots(rows);
    rows->prompt = take_array(n, sizeof *rows->prompt, &good);
    rows->response = take_array(n, sizeof *rows->response, &good);
    rows->id_json = take_array(n, sizeof *rows->id_json, &good);
    rows->group_key = take_array(n, sizeof *rows->group_key, &good);
    rows->bad = take_array(n, sizeof *rows->bad, &good);
    rows->id = take_array(n, sizeof *rows->id, &good);
    rows->prompt_id = take_array(n, sizeof *rows->prompt_id, &good);
    rows->slot_of = take_array(n, sizeof *rows->slot_of, &good);
    rows->group = take_array(n, sizeof *rows->group, &good);
    rows->call = take_array(n, sizeof *rows->call, &good);
    rows->zero = take_array(n, sizeof *rows->zero, &good);
    rows->step_begin = take_array(n, sizeof *rows->step_begin, &good);
    rows->zeros = take_array(n, 1, &good);
    rows->ones = take_array(n, 1, &good);
    if (good)
        memset(rows->ones, 1, n);
    for (size_t i = 0; i < rows->wanteds; i++) {
        mete__wanted *w = &rows->wanted[i];
        size_t size = element_size(w->level, w->element);
        w->value = take_array(n, size, &good);
        w->valid = take_array(n, 1, &good);
        w->offset = take_array(w->level == METE_LIST ? n : 1, sizeof *w->offset, &good);
        w->group = take_array(w->level == METE_GROUP ? n : 1, size, &good);
        w->group_valid = take_array(w->level == METE_GROUP ? n : 1, 1, &good);
    }
    rows->room = good ? slots : 0;
    return good;
}

void
mete__rows_call(mete__rows *rows, size_t first, size_t slots)
{
    for (size_t i = first; i < first + slots; i++)
        rows->call[i] = (uint32_t)first;
}

/* ---- one record ------------------------------------------------------------------------------ */

/* Texts inside the line live as long as it; others are copied. */
static mete_text
keep(mete__part *part, mete_text text, mete_text line)
{
    if (line.data && (uintptr_t)text.data >= (uintptr_t)line.data &&
        (uintptr_t)text.data + text.length <= (uintptr_t)line.data + line.length)
        return text;
    char *copy = mete__arena_string(part->arena, text.length ? text.data : "", text.length);
    return copy ? (mete_text){copy, text.length} : (mete_text){"", 0};
}

/* The value as JSON: as written where the line has it so. */
static mete_text
as_json(mete__part *part, const mete__field *field, mete_text line)
{
    mete_text text = field->text;
    if (field->type != METE_JSON_STRING)
        return keep(part, text, line);
    if (line.data && text.data > line.data && text.data + text.length < line.data + line.length &&
        text.data[-1] == '"' && text.data[text.length] == '"')
        return (mete_text){text.data - 1, text.length + 2};
    mete_buffer encoded = {0};
    mete_json_put_text(&encoded, text);
    mete_text kept = keep(part, mete_buffer_view(&encoded), (mete_text){NULL, 0});
    mete_buffer_free(&encoded);
    return kept;
}

/* The field at a key or dotted path, or NULL. */
static const mete__field *
find(mete__part *part, const mete__record *record, mete_text from, mete__field *room)
{
    const mete__field *field = mete__record_find(record, from);
    if (field || !memchr(from.data, '.', from.length))
        return field;
    mete_buffer_clear(&part->path);
    return mete__record_path(record, from, room, &part->path) == 1 ? room : NULL;
}

/* A number: JSON's, a bool's, or one written in a CSV field. */
static bool
as_number(const mete__field *field, double *out)
{
    if (field->type == METE_JSON_NUMBER)
        *out = field->number;
    else if (field->type == METE_JSON_BOOL)
        *out = field->truth;
    else if (field->type != METE_JSON_STRING ||
             !mete_number_parse(field->text, METE_NUMBER_EXPONENT, out))
        return false;
    return isfinite(*out);
}

static bool
store_number(const mete__wanted *w, size_t slot, double number)
{
    bool whole = number == floor(number);
    switch (w->element) {
    case METE_F32:
        ((float *)(void *)w->value)[slot] = (float)number;
        return true;
    case METE_F64:
        ((double *)(void *)w->value)[slot] = number;
        return true;
    case METE_I32:
        if (!whole || number < INT32_MIN || number > INT32_MAX)
            return false;
        ((int32_t *)(void *)w->value)[slot] = (int32_t)number;
        return true;
    case METE_I64:
        if (!whole || fabs(number) > 9007199254740992.0)
            return false;
        ((int64_t *)(void *)w->value)[slot] = (int64_t)number;
        return true;
    default:
        if (!whole || number < 0 || number > 255)
            return false;
        ((uint8_t *)w->value)[slot] = (uint8_t)number;
        return true;
    }
}

/* A list of texts; one text stands for a list of one, a number is the text it is written as. */
static bool
store_list(mete__part *part, const mete__wanted *w, size_t slot, const mete__field *field,
           mete_text line)
{
    mete_texts *out = &((mete_texts *)(void *)w->value)[slot];
    mete_text *item;
    if (field->type == METE_JSON_STRING || field->type == METE_JSON_NUMBER) {
        out->item = item = mete__arena_take(part->arena, sizeof *item);
        out->count = 1;
        if (item)
            *item = w->element == METE_JSON ? as_json(part, field, line)
                                            : keep(part, field->text, line);
        return item != NULL;
    }
    mete_json *root = field->type == METE_JSON_ARRAY ? mete_json_parse(field->text, NULL) : NULL;
    if (!root)
        return false;
    out->count = mete_json_count(root);
    out->item = item = mete__arena_take(part->arena, out->count * sizeof *item);
    bool good = item != NULL;
    for (const mete_json *v = mete_json_first(root); v && good; v = mete_json_next(v), item++) {
        mete_buffer encoded = {0};
        if (w->element == METE_TEXT && mete_json_kind(v) == METE_JSON_STRING) {
            *item = keep(part, mete_json_text(v), (mete_text){NULL, 0});
            continue;
        }
        good = w->element == METE_JSON || mete_json_kind(v) == METE_JSON_NUMBER;
        mete_json_put(&encoded, v);
        *item = keep(part, mete_buffer_view(&encoded), (mete_text){NULL, 0});
        mete_buffer_free(&encoded);
    }
    mete_json_free(root);
    return good;
}

static bool
store(mete__part *part, const mete__wanted *w, size_t slot, const mete__field *field,
      mete_text line)
{
    double number;
    if (w->level == METE_LIST)
        return store_list(part, w, slot, field, line);
    if (w->element == METE_JSON) {
        ((mete_text *)(void *)w->value)[slot] = as_json(part, field, line);
        return true;
    }
    if (w->element == METE_TEXT) {
        /* A number, say an answer, is read as it is written. */
        ((mete_text *)(void *)w->value)[slot] = keep(part, field->text, line);
        return true;
    }
    return as_number(field, &number) && store_number(w, slot, number);
}

void
mete__rows_bad(mete__rows *rows, size_t slot, mete__part *part, const char *reason)
{
    char *copy = mete__arena_string(part->arena, reason, strlen(reason));
    rows->bad[slot] = copy ? copy : "out of memory";
    rows->group_key[slot] = 0;
}

static void
bad_column(mete__rows *rows, size_t slot, mete__part *part, const mete__wanted *w, bool there)
{
    char reason[256];
    snprintf(reason, sizeof reason, "\"%.*s\" %s, which %s reads", (int)w->from.length,
             w->from.data, there ? "has the wrong type" : "is missing", w->node);
    mete__rows_bad(rows, slot, part, reason);
}

static uint64_t
hash_text(uint64_t seed, mete_text text)
{
    return mete_hash(seed, text.length ? text.data : "", text.length);
}

/* Equal for rows that are answers to the same question. */
static uint64_t
identity(const mete__rows *rows, size_t slot)
{
    uint64_t id = hash_text(rows->group_key[slot], rows->prompt[slot]);
    if (!rows->prompt[slot].length && !rows->group_key[slot])
        id = mete_hash_mix(id, rows->id[slot]);
    for (size_t i = 0; rows->hash_all && i < rows->wanteds; i++) {
        const mete__wanted *w = &rows->wanted[i];
        size_t size = element_size(w->level, w->element);
        if (w->level == METE_EPISODE && size == sizeof(mete_text))
            id = hash_text(id, ((const mete_text *)(const void *)w->value)[slot]);
        else if (w->level == METE_EPISODE)
            id = mete_hash(id, w->value + slot * size, size);
    }
    return id;
}

/* The text of a prompt or response, which may be given as messages. */
static mete_text
spoken(mete__part *part, const mete__field *field, bool answer, mete_text line)
{
    if (field->type != METE_JSON_ARRAY)
        return keep(part, field->text, line);
    mete_buffer said = {0};
    bool found = answer ? mete__messages_answer(field->text, &said)
                        : mete__messages_prompt(field->text, SIZE_MAX, &said);
    mete_text text = keep(part, found ? mete_buffer_view(&said) : field->text,
                          found ? (mete_text){NULL, 0} : line);
    if (!found && answer)
        text.data = NULL;
    mete_buffer_free(&said);
    return text;
}

void
mete__rows_take(mete__rows *rows, size_t slot, mete__part *part, const mete__record *record,
                mete_text line)
{
    mete__field room;
    const mete__field *field = find(part, record, rows->prompt_from, &room);
    rows->id_json[slot] = (mete_text){NULL, 0};
    rows->bad[slot] = NULL;
    rows->id[slot] = rows->number + slot - rows->call[slot];
    rows->prompt[slot] = field ? spoken(part, field, false, line) : (mete_text){"", 0};
    field = find(part, record, rows->group_from, &room);
    rows->group_key[slot] = field && field->type != METE_JSON_NULL
                                ? hash_text((uint64_t)field->type, field->text) | 1
                                : 0;
    field = find(part, record, rows->id_from, &room);
    rows->id_json[slot] = field ? as_json(part, field, line) : (mete_text){NULL, 0};
    field = find(part, record, rows->response_from, &room);
    rows->response[slot] = field ? spoken(part, field, true, line) : (mete_text){"", 0};
    if (!field || !rows->response[slot].data ||
        (field->type != METE_JSON_STRING && field->type != METE_JSON_ARRAY)) {
        char reason[200];
        snprintf(reason, sizeof reason, "the response, \"%.*s\", is %s",
                 (int)(rows->response_from.length < 99 ? rows->response_from.length : 99),
                 rows->response_from.data, field ? "no text" : "missing");
        mete__rows_bad(rows, slot, part, reason);
        return;
    }
    for (size_t i = 0; i < rows->wanteds; i++) {
        const mete__wanted *w = &rows->wanted[i];
        field = find(part, record, w->from, &room);
        bool there = field && field->type != METE_JSON_NULL;
        w->valid[slot] = there && store(part, w, slot, field, line);
        if (!w->valid[slot]) {
            memset(w->value + slot * element_size(w->level, w->element), 0,
                   element_size(w->level, w->element));
            if (w->required || there) {
                bad_column(rows, slot, part, w, there);
                return;
            }
        }
    }
    rows->prompt_id[slot] = identity(rows, slot);
}

/* ---- the batch ------------------------------------------------------------------------------- */

static bool
same_group(const mete__rows *rows, size_t a, size_t b)
{
    return rows->group_key[a] && rows->group_key[a] == rows->group_key[b] &&
           rows->call[a] == rows->call[b] && !rows->bad[a] && !rows->bad[b];
}

size_t
mete__rows_last_group(const mete__rows *rows)
{
    size_t at = rows->slots ? rows->slots - 1 : 0;
    while (at && same_group(rows, at - 1, at))
        at--;
    return at;
}

static void
move(void *array, size_t size, const uint32_t *from, size_t count)
{
    char *bytes = array;
    for (size_t i = 0; i < count; i++)
        if (from[i] != i)
            memcpy(bytes + i * size, bytes + from[i] * size, size);
}

/* Closes the gaps that bad records leave; id_json, bad and the columns of slots not in the batch
 * are not asked for again. */
static size_t
compact(mete__rows *rows, size_t slots)
{
    size_t n = 0;
    for (size_t i = 0; i < slots; i++)
        if (!rows->bad[i])
            rows->slot_of[n++] = (uint32_t)i;
    if (n == slots)
        return n;
    move(rows->prompt, sizeof *rows->prompt, rows->slot_of, n);
    move(rows->response, sizeof *rows->response, rows->slot_of, n);
    move(rows->id, sizeof *rows->id, rows->slot_of, n);
    move(rows->prompt_id, sizeof *rows->prompt_id, rows->slot_of, n);
    for (size_t i = 0; i < rows->wanteds; i++) {
        mete__wanted *w = &rows->wanted[i];
        move(w->value, element_size(w->level, w->element), rows->slot_of, n);
        move(w->valid, 1, rows->slot_of, n);
    }
    return n;
}

static bool
flatten(mete__wanted *w, size_t rows)
{
    const mete_texts *list = (const mete_texts *)(const void *)w->value;
    size_t total = 0;
    for (size_t i = 0; i < rows; i++)
        total += list[i].count;
    if (total >= UINT32_MAX)
        return false;
    if (total > w->item_room) {
        mete_text *wider = realloc(w->item, total * sizeof *wider);
        if (!wider)
            return false;
        w->item = wider;
        w->item_room = total;
    }
    total = 0;
    for (size_t i = 0; i < rows; i++) {
        w->offset[i] = (uint32_t)total;
        if (list[i].count)
            memcpy(w->item + total, list[i].item, list[i].count * sizeof *w->item);
        total += list[i].count;
    }
    w->offset[rows] = (uint32_t)total;
    return true;
}

static bool
fill_column(const mete__rows *rows, mete__wanted *w, mete_column *column)
{
    size_t size = element_size(w->level, w->element);
    *column = (mete_column){.size = sizeof *column,
                            .level = (uint16_t)w->level,
                            .element = (uint16_t)w->element,
                            .visible = METE_SEE_POLICY,
                            .shape = {1, 0, 0, 0},
                            .name = w->name,
                            .data = w->value,
                            .valid = w->valid};
    if (w->level == METE_LIST) {
        if (!flatten(w, rows->batch.episodes))
            return false;
        column->parent = METE_EPISODE;
        column->data = w->item;
        column->offset = w->offset;
        column->valid = NULL;
    }
    if (w->level == METE_GROUP) {
        for (size_t g = 0; g < rows->batch.groups; g++) {
            memcpy((char *)w->group + g * size, w->value + rows->group[g] * size, size);
            w->group_valid[g] = w->valid[rows->group[g]];
        }
        column->data = w->group;
        column->valid = w->group_valid;
    }
    return true;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static bool
step_add(mete__rows *rows, size_t row, size_t step, size_t begin, size_t end)
{
    if (step == rows->step_room) {
        size_t room = step ? 2 * step : 1024;
        uint32_t *span = realloc(rows->span, 2 * room * sizeof *span);
        rows->span = span ? span : rows->span;
        uint32_t *step_row = span ? realloc(rows->step_row, room * sizeof *step_row) : NULL;
        if (!step_row)
            return false;
        rows->step_row = step_row;
        rows->step_room = room;
    }
    rows->span[2 * step] = (uint32_t)begin;
    rows->span[2 * step + 1] = (uint32_t)end;
    rows->step_row[step] = (uint32_t)row;
    return true;
}

static bool
steps_of_words(mete__rows *rows, size_t row, size_t *steps)
{
    mete_text text = rows->response[row];
    mete_word word;
    bool good = true;
    for (size_t at = 0; good && mete_word_next(text, METE_WORDS_SPACES, &at, &word);) {
        size_t begin = (size_t)(word.text.data - text.data);
        good = step_add(rows, row, (*steps)++, begin, begin + word.text.length);
    }
    return good;
}

static bool
steps_of_tokens(mete__rows *rows, size_t row, size_t *steps)
{
    mete_tokens *tokens = &rows->tokens;
    bool good = true;
    tokens->count = 0;
    if (mete_tokeniser_encode(rows->tokeniser, rows->response[row], 0, tokens, NULL))
        return false;
    for (size_t i = 0; i < tokens->count && good; i++)
        good = step_add(rows, row, (*steps)++, tokens->start[i], tokens->end[i]);
    return good;
}

/* The steps of `count` rows; SIZE_MAX: out of memory. */
static size_t
steps_make(mete__rows *rows, size_t count)
{
    size_t steps = 0;
    for (size_t i = 0; i < count; i++) {
        rows->step_begin[i] = (uint32_t)steps;
        if (!(rows->words ? steps_of_words : steps_of_tokens)(rows, i, &steps) ||
            steps >= UINT32_MAX)
            return SIZE_MAX;
    }
    rows->step_begin[count] = (uint32_t)steps;
    return steps;
}

const mete_batch *
mete__rows_batch(mete__rows *rows, size_t slots)
{
    size_t groups = 0, n = compact(rows, slots);
    for (size_t i = 0; i < n; i++)
        if (!i || !same_group(rows, rows->slot_of[i - 1], rows->slot_of[i])) {
            rows->group[groups++] = (uint32_t)i;
        } else {
            rows->prompt_id[i] = rows->prompt_id[i - 1];
        }
    rows->group[groups] = (uint32_t)n;
    rows->batch = (mete_batch){.size = sizeof rows->batch,
                               .columns = (uint32_t)rows->wanteds,
                               .episodes = n,
                               .groups = groups,
                               .id = rows->id,
                               .prompt_id = rows->prompt_id,
                               .task_id = rows->prompt_id,
                               .group = rows->group,
                               .step_begin = rows->step_begin,
                               .first_step = rows->zero,
                               .starts = rows->ones,
                               .terminated = rows->ones,
                               .truncated = rows->zeros,
                               .prompt = rows->prompt,
                               .response = rows->response,
                               .step_row = rows->zero,
                               .column = rows->column};
    if (rows->words || rows->tokeniser) {
        rows->batch.steps = steps_make(rows, n);
        rows->batch.span = rows->span;
        rows->batch.step_row = rows->step_row;
    }
    for (size_t i = 0; i < rows->wanteds; i++)
        if (!fill_column(rows, &rows->wanted[i], &rows->column[i]))
            return NULL;
    return rows->batch.steps == SIZE_MAX ? NULL : &rows->batch;
}
