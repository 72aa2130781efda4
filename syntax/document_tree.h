// The tree and the scopes of one open document, kept fresh under edits without ever delaying a request.
//
// apply_edit() shifts the last good scopes by the edit (microseconds) and schedules a reparse; scopes()
// returns the best map there is now: that of the current text if the parse is done, else the last good
// one shifted. Parsing runs with a time limit on the parse thread.
#pragma once

#include "syntax/languages.h"
#include "syntax/scopes.h"
