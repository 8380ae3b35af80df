/* record.c - one JSON object a line as a flat list of fields, dotted paths into it, field maps.
 *
 * A record borrows its line: fields are spans of it, but for strings with escapes, which lie in
 * record->text. Fields made by a map that had to be decoded lie in record->mapped. Both have room
 * for all they may need before the first is written, so no span ever moves.
 */
#include <stdlib.h>

#include "text/json.h"
#include "text/scan.h"

int
mete__record_room(mete__record *record, size_t more)
{
    if (record->capacity - record->fields >= more)
        return METE_OK;
    size_t capacity = record->capacity * 2 + more + 8;
    mete__field *field = realloc(record->field, capacity * sizeof *field);
    if (!field)
        return METE_ENOMEM;
    record->field = field;
    record->capacity = capacity;
    return METE_OK;
}

static bool
record_object(struct mete__scan *scan, mete__record *record)
{
    bool more;
    if (!mete__scan_object(scan, &more))
        return false;
    while (more) {
        if (record->fields == record->capacity && mete__record_room(record, 1))
            return mete__scan_memory(scan);
        if (!mete__scan_member(scan, &record->field[record->fields], &more))
            return false;
        record->fields++;
    }
    return mete__scan_end(scan);
}

int
mete__record_parse(mete__record *record, const char *line, size_t length, mete_error *err)
{
    mete_text text = {line ? line : "", line ? length : 0};
    record->fields = 0;
    record->raw = text;
    if (!record->scan && !(record->scan = calloc(1, sizeof *record->scan)))
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    struct mete__scan *scan = record->scan;
    if (mete__scan_start(scan, text, &record->text) && record_object(scan, record)) {
        record->text.length = (size_t)(scan->out - record->text.data);
        return METE_OK;
    }
    record->fields = 0;
    return mete__scan_error(scan, err);
}

void
mete__record_free(mete__record *record)
{
    if (!record)
        return;
    free(record->field);
    mete_buffer_free(&record->text);
    mete_buffer_free(&record->mapped);
    mete__scan_free(record->scan);
    memset(record, 0, sizeof *record);
}

const mete__field *
mete__record_find(const mete__record *record, mete_text key)
{
    for (size_t i = 0; i < record->fields; i++)
        if (mete_text_equal(record->field[i].key, key))
            return &record->field[i];
    return NULL;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

int
mete__items_begin(mete__items *items, mete_text array, mete_error *err)
{
    if (!items->scan && !(items->scan = calloc(1, sizeof *items->scan)))
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    if (mete__scan_start(items->scan, array, &items->text) &&
        mete__scan_array(items->scan, &items->more))
        return METE_OK;
    return mete__scan_error(items->scan, err);
}

int
mete__items_next(mete__items *items, mete__field *element, mete_error *err)
{
    if (!items->more)
        return 0;
    element->key = (mete_text){"", 0};
    if (mete__scan_element(items->scan, element, &items->more))
        return 1;
    return mete__scan_error(items->scan, err);
}

void
mete__items_free(mete__items *items)
{
    mete__scan_free(items->scan);
    mete_buffer_free(&items->text);
    *items = (mete__items){0};
}

/* ---- paths ----------------------------------------------------------------------------------- */

/* Walks `path` from the value `raw`; leaves the value's span in `found`. */
static int
walk(struct mete__scan *scan, mete_text raw, mete_text path, mete_buffer *spare, mete_text *found)
{
    size_t from = 0;
    if (!mete__scan_start(scan, raw, spare))
        return scan->status;
    while (from <= path.length) {
        mete_text rest = mete_text_slice(path, from, path.length), dot = {".", 1};
        size_t length = mete_text_find(rest, dot, 0);
        length = length == SIZE_MAX ? rest.length : length;
        int there = mete__scan_step(scan, mete_text_slice(rest, 0, length));
        if (there <= 0)
            return there;
        from += length + 1;
    }
    found->data = scan->at;
    if (!mete__scan_skip(scan))
        return scan->status;
    found->length = (size_t)(scan->at - found->data);
    return 1;
}

/* The value as JSON at a dotted path; 1, 0 or a status. */
static int
path_raw(const mete__record *record, mete_text path, mete_text *raw)
{
    mete_text dot = {".", 1};
    struct mete__scan *scan = record->scan;
    /* Every split of the path is tried, so keys with dots in them are found too. */
    for (size_t at = mete_text_find(path, dot, 0); at != SIZE_MAX && scan;
         at = mete_text_find(path, dot, at + 1)) {
        const mete__field *field = mete__record_find(record, mete_text_slice(path, 0, at));
        if (!field || (field->type != METE_JSON_OBJECT && field->type != METE_JSON_ARRAY))
            continue;
        mete_buffer spare = mete_buffer_make(0);
        mete_text rest = mete_text_slice(path, at + 1, path.length);
        int there = walk(scan, field->text, rest, &spare, raw);
        mete_buffer_free(&spare);
        if (there)
            return there;
    }
    return 0;
}

/* Reads the value whose valid JSON is `raw`, its decoded text appended to `text`. */
static int
read_raw(const mete__record *record, mete_text raw, mete__field *out, mete_buffer *text)
{
    struct mete__scan *scan = record->scan;
    if (mete_buffer_reserve(text, raw.length))
        return text->status;
    mete__scan_point(scan, raw, text->data + text->length);
    if (!mete__scan_field(scan, out))
        return scan->status;
    text->length = (size_t)(scan->out - text->data);
    return METE_OK;
}

int
mete__record_path(const mete__record *record, mete_text path, mete__field *out, mete_buffer *text)
{
    const mete__field *exact = mete__record_find(record, path);
    mete_text raw = {NULL, 0};
    if (exact) {
        *out = *exact;
        return 1;
    }
    int there = path_raw(record, path, &raw);
    if (there <= 0)
        return there;
    out->key = path;
    int status = read_raw(record, raw, out, text);
    return status ? status : 1;
}

/* ---- field maps ------------------------------------------------------------------------------ */

/* Finds the sources of all maps, as fields after those of the record; sets how many there are. */
static int
map_find(mete__record *record, const mete__map *map, size_t maps,
         void (*missed)(void *user, size_t i), void *user, size_t *found)
{
    size_t need = 0;
    for (size_t i = 0; i < maps; i++) {
        mete__field *new = &record->field[record->fields + *found];
        const mete__field *exact = mete__record_find(record, map[i].from);
        if (exact) {
            *new = *exact;
        } else {
            int there = path_raw(record, map[i].from, &new->text);
            if (there < 0)
                return there;
            if (there == 0) {
                missed(user, i);
                continue;
            }
            new->type = METE_JSON_NONE; /* read below, once the room for all is known */
            need += new->text.length;
        }
        new->key = map[i].to;
        ++*found;
    }
    mete_buffer_clear(&record->mapped);
    return need ? mete_buffer_reserve(&record->mapped, need) : METE_OK;
}

static bool
map_hides(const mete__map *map, size_t maps, mete_text key)
{
    for (size_t i = 0; i < maps; i++)
        if (mete_text_equal(map[i].to, key) || mete_text_equal(map[i].from, key))
            return true;
    return false;
}

int
mete__record_map(mete__record *record, const mete__map *map, size_t maps,
                 void (*missed)(void *user, size_t i), void *user, mete_error *err)
{
    size_t found = 0, kept = 0;
    int status = maps ? mete__record_room(record, maps) : METE_OK;
    if (status == METE_OK)
        status = map_find(record, map, maps, missed, user, &found);
    for (size_t i = 0; i < found && status == METE_OK; i++) {
        mete__field *field = &record->field[record->fields + i];
        if (field->type == METE_JSON_NONE)
            status = read_raw(record, field->text, field, &record->mapped);
    }
    if (status)
        return mete_error_set(err, status, "cannot read a mapped field");
    for (size_t i = 0; i < record->fields + found; i++)
        if (i >= record->fields || !map_hides(map, maps, record->field[i].key))
            record->field[kept++] = record->field[i];
    record->fields = kept;
    return METE_OK;
}
