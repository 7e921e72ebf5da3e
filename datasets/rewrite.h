#pragma once

#include <string>
#include <string_view>

#include "datasets/utf8.h"

namespace attune::rewrite {

// Rules of tokenizers over well-formed UTF-8, that other systems write as regular expressions. As there, what a rule
// has matched is not matched again: the next pair begins behind it.

/// Every `from` becomes `to`.
inline void replace_all(std::string& text, std::string_view from, std::string_view to) {
  size_t at = text.find(from);
  if (at == std::string::npos) return;
  std::string out;
  out.reserve(text.size());
  size_t begin = 0;
  for (; at != std::string::npos; at = text.find(from, begin)) {
    out.append(text, begin, at - begin).append(to);
    begin = at + from.size();
  }
  text = out.append(text, begin);
}

/// Each code point that is `alone` gets a space on either side: s/([alone])/ $1 /g.
template <class Alone>
std::string set_apart(std::string_view text, Alone&& alone) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (size_t i = 0; i < text.size();) {
    const size_t at = i;
    const bool apart = alone(utf8::decode(text, i));
    if (apart) out += ' ';
    out += text.substr(at, i - at);
    if (apart) out += ' ';
  }
  return out;
}

/// Neighbours that match(first, second) become `before` first `between` second `after`.
template <class Match>
std::string split_pairs(std::string_view text, std::string_view before, std::string_view between,
                        std::string_view after, Match&& match) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (size_t i = 0; i < text.size();) {
    size_t middle = i;
    const char32_t first = utf8::decode(text, middle);
    size_t end = middle;
    if (middle < text.size() && match(first, utf8::decode(text, end))) {
      out.append(before).append(text, i, middle - i).append(between).append(text, middle, end - middle).append(after);
      i = end;
    } else {
      out.append(text, i, middle - i);
      i = middle;
    }
  }
  return out;
}

/// A `mark` between neighbours that match(left, right) becomes `to`.
template <class Match>
std::string replace_between(std::string_view text, char mark, std::string_view to, Match&& match) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (size_t i = 0; i < text.size();) {
    size_t at = i;
    const char32_t left = utf8::decode(text, at);
    size_t end = at + 1;
    if (at + 1 < text.size() && text[at] == mark && match(left, utf8::decode(text, end))) {
      out.append(text, i, at - i).append(to).append(text, at + 1, end - at - 1);
      i = end;
    } else {
      out.append(text, i, at - i);
      i = at;
    }
  }
  return out;
}

}  // namespace attune::rewrite
