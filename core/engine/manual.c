/* manual.c - the manual of a plugin, from the table that binds it. */
#include "engine/loader.h"
#include "engine/options.h"

#include <math.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

static const char *
type_word(const mete_option *row)
{
    static const char *const word[] = {[METE_OPTION_BOOL] = "true or false",
                                       [METE_OPTION_INT] = "integer",
                                       [METE_OPTION_REAL] = "number",
                                       [METE_OPTION_STRING] = "string",
                                       [METE_OPTION_ENUM] = "one of",
                                       [METE_OPTION_FILE] = "file",
                                       [METE_OPTION_INTS] = "list of integers",
                                       [METE_OPTION_REALS] = "list of numbers",
                                       [METE_OPTION_STRINGS] = "list of strings",
                                       [METE_OPTION_FIELD] = "column",
                                       [METE_OPTION_DATA] =
                                           "data file, or { file; map; limit; on_bad; }",
                                       [METE_OPTION_MODEL] = "name of a model",
                                       [METE_OPTION_REWARD] = "reward { use = ...; }",
                                       [METE_OPTION_REWARDS] = "list of rewards",
                                       [METE_OPTION_RUBRIC] = "rubric generator { use = ...; }",
                                       [METE_OPTION_POLICY] = "policy { use = ...; }",
                                       [METE_OPTION_POLICIES] = "list of policies",
                                       [METE_OPTION_ENVIRONMENT] = "environment { use = ...; }",
                                       [METE_OPTION_ENVIRONMENTS] = "list of environments",
                                       [METE_OPTION_LIST] = "list of groups"};
    return row->type < sizeof word / sizeof *word && word[row->type] ? word[row->type] : "?";
}

/* Words of `text` wrapped at 78 columns behind `indent` spaces; newlines are spaces. */
static void
wrap(const char *text, int indent, FILE *to)
{
    int column = 0;
    for (const char *at = text; *at;) {
        at += strspn(at, " \n");
        int length = (int)strcspn(at, " \n");
        if (!length)
            break;
        if (column && column + 1 + length > 78) {
            fputc('\n', to);
            column = 0;
        }
        if (!column)
            column = fprintf(to, "%*s%.*s", indent, "", length, at);
        else
            column += fprintf(to, " %.*s", length, at);
        at += length;
    }
    fputc('\n', to);
}

/* The paragraphs of a plugin's doc, an empty line between two. One whose first line says what
 * something is (" = ") is an example and stands as it is. */
static void
paragraphs(const char *text, int indent, FILE *to)
{
    for (const char *next; *text; text = next) {
        const char *end = strstr(text, "\n\n"), *line = text + strcspn(text, "\n");
        size_t length = end ? (size_t)(end - text) : strlen(text);
        const char *example = strstr(text, " = ");
        char *part = strndup(text, length);
        next = text + length + strspn(text + length, "\n");
        if (part && example && example < line)
            for (char *rest = part, *at; (at = strsep(&rest, "\n")) && *at;)
                fprintf(to, "%*s%s\n", indent, "", at);
        else if (part)
            wrap(part, indent, to);
        free(part);
        if (*next)
            fputc('\n', to);
    }
}

/* "one of a, b (default a)", "number in [0, 1], default 0.5, may be a schedule". */
static void
describe(const mete_option *row, char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, "%s", type_word(row));
    int number = row->type == METE_OPTION_INT || row->type == METE_OPTION_REAL;
    int range = number || row->type == METE_OPTION_INTS || row->type == METE_OPTION_REALS;
    if (row->type == METE_OPTION_ENUM)
        at += (size_t)snprintf(out + at, size - at, " %s", row->text);
    if (range)
        at += (size_t)snprintf(out + at, size - at, " in [%.10g, %.10g]", row->min, row->max);
    if (row->unit && *row->unit)
        at += (size_t)snprintf(out + at, size - at, " %s", row->unit);
    if (row->flags & METE_REQUIRED)
        at += (size_t)snprintf(out + at, size - at, ", required");
    else if (number || row->type == METE_OPTION_BOOL)
        at += (size_t)snprintf(out + at, size - at, ", default %.10g", row->value);
    else if (row->type == METE_OPTION_ENUM) {
        const char *word = row->text;
        for (int k = (int)row->value; k > 0 && strchr(word, '|'); k--)
            word = strchr(word, '|') + 1;
        at +=
            (size_t)snprintf(out + at, size - at, ", default %.*s", (int)strcspn(word, "|"), word);
    } else if (row->text && *row->text)
        at += (size_t)snprintf(out + at, size - at, ", default \"%s\"", row->text);
    if (row->type == METE_OPTION_REAL && (row->flags & METE_LIVE))
        at += (size_t)snprintf(out + at, size - at, "; may be a schedule");
    if (row->flags & METE_DEPRECATED)
        snprintf(out + at, size - at, "; deprecated");
}

static void
print_table(const mete_option *table, int indent, FILE *to)
{
    char text[1000];
    for (const mete_option *row = table; row->name; row++) {
        describe(row, text, sizeof text);
        fprintf(to, "%*s%s\n", indent, "", row->name);
        wrap(text, indent + 4, to);
        wrap(row->help, indent + 4, to);
        if (row->type == METE_OPTION_LIST)
            print_table(row->rows, indent + 8, to);
    }
}

void
mete__options_manual(const mete_plugin *plugin, const char *file, FILE *to)
{
    const char *kind = mete__kind_word((mete_kind)plugin->kind);
    fprintf(to, "NAME\n    %s - %s\n\n", plugin->name, plugin->summary);
    fprintf(to, "USE\n    { use = \"%s\"; }   (%s, version %s)\n    %s\n", plugin->name, kind,
            plugin->version, file);
    if (plugin->doc && *plugin->doc) {
        fprintf(to, "\nDESCRIPTION\n");
        paragraphs(plugin->doc, 4, to);
    }
    if (plugin->options->name) {
        fprintf(to, "\nOPTIONS\n");
        print_table(plugin->options, 4, to);
    }
    if (plugin->kind == METE_KIND_REWARD && (plugin->flags & METE_COMBINES))
        fprintf(to, "\nCHILDREN\n    of = ( { use = ...; weight = ...; }%s )\n",
                plugin->flags & METE_ONE_CHILD ? "" : ", ...");
    if (plugin->reference && *plugin->reference) {
        fprintf(to, "\nREFERENCE\n");
        wrap(plugin->reference, 4, to);
    }
}

static void
json_text(mete_buffer *out, const char *name, const char *text, int more)
{
    mete_json_put_text(out, mete_text_from(name));
    mete_buffer_append(out, ":", 1);
    mete_json_put_text(out, mete_text_from(text ? text : ""));
    if (more)
        mete_buffer_append(out, ",", 1);
}

static void
json_number(mete_buffer *out, const char *name, double number)
{
    mete_buffer_append(out, ",", 1);
    mete_json_put_text(out, mete_text_from(name));
    mete_buffer_append(out, ":", 1);
    if (isfinite(number))
        mete_json_put_number(out, number);
    else
        mete_buffer_append(out, "null", 4);
}

static void
json_table(mete_buffer *out, const mete_option *table)
{
    mete_buffer_append(out, "[", 1);
    for (const mete_option *row = table; row->name; row++) {
        mete_buffer_append(out, row == table ? "{" : ",{", row == table ? 1 : 2);
        json_text(out, "name", row->name, 1);
        json_text(out, "type", type_word(row), 1);
        json_text(out, "help", row->help, 0);
        json_number(out, "required", (row->flags & METE_REQUIRED) != 0);
        json_number(out, "live", (row->flags & METE_LIVE) != 0);
        if (row->type == METE_OPTION_INT || row->type == METE_OPTION_REAL ||
            row->type == METE_OPTION_BOOL) {
            json_number(out, "default", row->value);
            json_number(out, "min", row->min);
            json_number(out, "max", row->max);
        } else if (row->text) {
            mete_buffer_append(out, ",", 1);
            json_text(out, row->type == METE_OPTION_ENUM ? "words" : "default", row->text, 0);
        }
        if (row->type == METE_OPTION_LIST) {
            mete_buffer_append(out, ",\"rows\":", 8);
            json_table(out, row->rows);
        }
        mete_buffer_append(out, "}", 1);
    }
    mete_buffer_append(out, "]", 1);
}

void
mete__options_json(const mete_plugin *plugin, const char *file, FILE *to)
{
    mete_buffer out = mete_buffer_make((size_t)16 << 20);
    mete_buffer_append(&out, "{", 1);
    json_text(&out, "kind", mete__kind_word((mete_kind)plugin->kind), 1);
    json_text(&out, "name", plugin->name, 1);
    json_text(&out, "version", plugin->version, 1);
    json_text(&out, "summary", plugin->summary, 1);
    json_text(&out, "doc", plugin->doc, 1);
    json_text(&out, "reference", plugin->reference, 1);
    json_text(&out, "file", file, 1);
    mete_buffer_append(&out, "\"options\":", 10);
    json_table(&out, plugin->options);
    mete_buffer_append(&out, "}\n", 2);
    if (out.data)
        fwrite(out.data, 1, out.length, to);
    mete_buffer_free(&out);
}
