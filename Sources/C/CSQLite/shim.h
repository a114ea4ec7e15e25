#pragma once
#include <sqlite3.h>

// SQLITE_TRANSIENT, by which SQLite copies what it is given, is a macro that Swift does not import.
static inline int csq_bind_text(sqlite3_stmt *statement, int index, const char *text, int count) {
    return sqlite3_bind_text(statement, index, text, count, SQLITE_TRANSIENT);
}

// Without bytes there may be no pointer, and then SQLite would bind NULL.
static inline int csq_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, int count) {
    return sqlite3_bind_blob(statement, index, count ? bytes : "", count, SQLITE_TRANSIENT);
}
