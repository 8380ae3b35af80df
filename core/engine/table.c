/* table.c - data files in memory for METE_OPTION_DATA: group { file; map; limit; on_bad; } or a
 * name.
 *
 * For files that training draws from at random; what is only passed through once is streamed by
 * text/reader.h instead. */
#include "engine/options.h"
#include "text/reader.h"

#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((size_t)1 << 30)
#define MOST_FIELDS 1000
#define MOST_MAPS 64

/* The table while it grows: one array a field, on the heap. */
typedef struct growing {
    const mete__binder *binder;
    char **name;
    mete_text **value;
    uint8_t **element;
    size_t fields, rows, room;
    uint64_t *line;
    size_t bytes;
} growing;

static void
growing_free(growing *table)
{
    for (size_t i = 0; i < table->fields; i++) {
        free(table->name[i]);
        free(table->value[i]);
        free(table->element[i]);
    }
    free(table->name);
    free(table->value);
    free(table->element);
    free(table->line);
}

static bool
more_rows(growing *table)
{
    if (table->rows < table->room)
        return true;
    size_t room = table->room ? 2 * table->room : 1024;
    uint64_t *line = realloc(table->line, room * sizeof *line);
    if (!line)
        return false;
    table->line = line;
    for (size_t i = 0; i < table->fields; i++) {
        mete_text *value = realloc(table->value[i], room * sizeof *value);
        uint8_t *element = realloc(table->element[i], room);
        if (value)
            table->value[i] = value;
        if (element)
            table->element[i] = element;
        if (!value || !element)
            return false;
        memset(value + table->room, 0, (room - table->room) * sizeof *value);
        memset(element + table->room, 0, room - table->room);
    }
    table->room = room;
    return true;
}

/* The index of a field, added when it is new; SIZE_MAX when memory or names run out. */
static size_t
field_index(growing *table, mete_text key, size_t guess)
{
    for (size_t k = 0; k < table->fields; k++) {
        size_t i = (guess + k) % table->fields; /* records mostly keep their order */
        if (strlen(table->name[i]) == key.length &&
            memcmp(table->name[i], key.data, key.length) == 0)
            return i;
    }
    if (table->fields == MOST_FIELDS)
        return SIZE_MAX;
    size_t count = table->fields + 1;
    char **name = realloc(table->name, count * sizeof *name);
    mete_text **value = realloc(table->value, count * sizeof *value);
    uint8_t **element = realloc(table->element, count * sizeof *element);
    if (name)
        table->name = name;
    if (value)
        table->value = value;
    if (element)
        table->element = element;
    if (!name || !value || !element)
        return SIZE_MAX;
    name[count - 1] = strndup(key.data, key.length);
    value[count - 1] = calloc(table->room, sizeof **value);
    element[count - 1] = calloc(table->room, 1);
    table->fields = count;
    return name[count - 1] && value[count - 1] && element[count - 1] ? count - 1 : SIZE_MAX;
}

static bool
add_record(growing *table, const mete__record *record)
{
    if (!more_rows(table))
        return false;
    table->line[table->rows] = record->line;
    for (size_t k = 0; k < record->fields; k++) {
        const mete__field *field = &record->field[k];
        size_t i = field_index(table, field->key, k);
        char *own = table->binder->alloc(table->binder->user, field->text.length + 1);
        if (i == SIZE_MAX || !own)
            return false;
        if (field->text.length)
            memcpy(own, field->text.data, field->text.length);
        table->value[i][table->rows] = (mete_text){own, field->text.length};
        table->element[i][table->rows] = field->type == METE_JSON_STRING ? METE_TEXT : METE_JSON;
        table->bytes += field->text.length + sizeof(mete_text) + 8;
    }
    table->rows++;
    return true;
}

/* Moves what grew into memory of the instance. */
static const mete_table *
settle(const growing *from, const char *file)
{
    const mete__binder *binder = from->binder;
    mete_table *table = binder->alloc(binder->user, sizeof *table);
    size_t n = from->fields, rows = from->rows, length = strlen(file) + 1;
    char **name = binder->alloc(binder->user, (n + 1) * sizeof *name);
    mete_text **value = binder->alloc(binder->user, (n + 1) * sizeof *value);
    uint8_t **element = binder->alloc(binder->user, (n + 1) * sizeof *element);
    uint64_t *line = binder->alloc(binder->user, (rows + 1) * sizeof *line);
    char *path = binder->alloc(binder->user, length);
    if (!table || !name || !value || !element || !line || !path)
        return NULL;
    memcpy(path, file, length);
    if (rows)
        memcpy(line, from->line, rows * sizeof *line);
    for (size_t i = 0; i < n; i++) {
        size_t size = strlen(from->name[i]) + 1;
        name[i] = binder->alloc(binder->user, size);
        value[i] = binder->alloc(binder->user, (rows + 1) * sizeof **value);
        element[i] = binder->alloc(binder->user, rows + 1);
        if (!name[i] || !value[i] || !element[i])
            return NULL;
        memcpy(name[i], from->name[i], size);
        memcpy(value[i], from->value[i], rows * sizeof **value);
        memcpy(element[i], from->element[i], rows);
    }
    *table = (mete_table){.size = sizeof *table,
                          .fields = (uint32_t)n,
                          .rows = rows,
                          .name = (const char *const *)name,
                          .value = (const mete_text *const *)value,
                          .element = (const uint8_t *const *)element,
                          .file = path,
                          .line = line};
    return table;
}

static size_t
read_map(mete__value *group, mete__map *map, mete__errors *errors)
{
    mete__value *members = mete__value_get(group, "map");
    size_t count = 0;
    if (members && members->kind != METE__GROUP)
        mete__errors_add(errors, "%s:%d: %s must be a group { field = \"key\"; }", members->file,
                         members->line, members->path);
    for (mete__value *item = members ? members->first : NULL; item && count < MOST_MAPS;
         item = item->next) {
        item->used = true;
        if (item->kind != METE__STRING)
            mete__errors_add(errors, "%s:%d: %s must be the name of a key of the file", item->file,
                             item->line, item->path);
        else
            map[count++] = (mete__map){mete_text_from(item->name), mete_text_from(item->string)};
    }
    return count;
}

const mete_table *
mete__table_read(mete__value *value, const mete__binder *binder, mete__errors *errors)
{
    mete__map map[MOST_MAPS];
    mete__read_options options = {.map = map};
    mete__value *file = value;
    uint64_t limit = 0;
    size_t before = errors->count;
    if (value->kind == METE__GROUP) {
        file = mete__value_get(value, "file");
        options.maps = read_map(value, map, errors);
        options.skip = mete__value_enum(value, "on_bad", 0, "fail|skip", errors) == 1;
        limit = (uint64_t)mete__value_int(value, "limit", 0, 0, INT64_MAX, errors);
        mete__value_unknown(value, "file map on_bad limit", errors);
    }
    if (!file || file->kind != METE__STRING)
        mete__errors_add(errors, "%s:%d: %s must be a file name or { file = ...; map = { }; }",
                         value->file, value->line, value->path);
    char *path = errors->count == before ? mete__value_file(file) : NULL;
    mete_error err = {0};
    mete__reader *reader = path ? mete__reader_open(path, &options, &err) : NULL;
    growing table = {.binder = binder};
    const mete_table *result = NULL;
    const mete__record *record;
    int status;
    while (reader && (!limit || table.rows < limit) &&
           (status = mete__reader_next(reader, &record, &err)) == 1) {
        if (!add_record(&table, record))
            status = mete_error_set(&err, METE_ENOMEM, "%s: out of memory, or over %d fields", path,
                                    MOST_FIELDS);
        else if (table.bytes > MOST_BYTES)
            status = mete_error_set(&err, METE_EDATA,
                                    "%s: is larger than the %zu MiB kept in memory; "
                                    "set a limit",
                                    path, MOST_BYTES >> 20);
        if (status != 1)
            break;
    }
    if (err.code)
        mete__errors_add(errors, "%s:%d: %s: %s", value->file, value->line, value->path,
                         err.message);
    else if (reader && !table.rows)
        mete__errors_add(errors, "%s:%d: %s: %s holds no records", value->file, value->line,
                         value->path, path);
    else if (reader)
        result = settle(&table, path);
    growing_free(&table);
    if (reader)
        mete__reader_close(reader);
    free(path);
    return result;
}
