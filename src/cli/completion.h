/* SPDX-License-Identifier: MIT */
/*
 * Completion of command lines: scripts for shells, made from the tables of commands and options, so
 * that they know what the program knows. Standard output.
 */
#ifndef RINGLET_CLI_COMPLETION_H
#define RINGLET_CLI_COMPLETION_H

#include <stdbool.h>
#include <stddef.h>

struct command;
struct option_spec;

void completion_bash(void);
void completion_zsh(void);
void completion_fish(void);

/* ---- what they share ---- */

enum completion_value { VALUE_NONE, VALUE_ANY, VALUE_FILE, VALUE_DIRECTORY, VALUE_WORDS };

/* What an option's value is. VALUE_WORDS: one of words, with spaces between. */
enum completion_value completion_value(const struct option_spec *spec, char *words, size_t size);

/* text with a backslash before each byte of special. */
void completion_print(const char *text, const char *special);

/* Calls visit for each command that has options, with what precedes its name ("" or "disk "). */
void completion_each(void (*visit)(const char *prefix, const struct command *command));

#endif
