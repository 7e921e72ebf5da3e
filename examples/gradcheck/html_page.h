#pragma once

namespace attune::examples {

/// HTML before and behind the report as JSON.
extern const char* const kHtmlHead;
extern const char* const kHtmlTail;

}  // namespace attune::examples
