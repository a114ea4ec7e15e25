#pragma once
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <editline/readline.h>
#include <sys/ioctl.h>

/* How far above the cursor's row the edited line begins. Columns are counted as bytes, which is right for ASCII. */
static inline int ced_rows_above_cursor(int prompt) {
    struct winsize size;
    int columns = ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    return (prompt + rl_point) / columns;
}

/* Takes the edited line off the screen, and leaves the cursor where it began. */
static inline void ced_hide_line(int prompt) {
    FILE *out = rl_outstream ? rl_outstream : stdout;
    int rows = ced_rows_above_cursor(prompt);
    fputc('\r', out);
    if (rows) fprintf(out, "\033[%dA", rows);
    fputs("\033[J", out);
}

/* Prints a line where the edited one stood. */
static inline void ced_print(const char *line) {
    FILE *out = rl_outstream ? rl_outstream : stdout;
    fputs(line, out);
    fputc('\n', out);
}

/* Shows the edited line again, below what was printed. */
static inline void ced_show_line(void) {
    FILE *out = rl_outstream ? rl_outstream : stdout;
    fflush(out);
    rl_on_new_line();
    rl_forced_update_display();
}

static inline void ced_use_locale(void) { setlocale(LC_CTYPE, ""); }
