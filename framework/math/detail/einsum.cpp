#include "framework/math/detail/einsum.h"

#include <algorithm>
#include <string>

#include "framework/fail.h"

namespace attune {
namespace {

struct Equation {
  std::string a;
  std::string b;
  std::string result;
};

bool is_label(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

void check_labels(std::string_view equation, std::string_view labels) {
  for (const char label : labels) {
    require<ValueError>(is_label(label), "einsum: '{}' in \"{}\" is no label; labels are letters, one per axis", label,
                        equation);
    require<ValueError>(std::count(labels.begin(), labels.end(), label) == 1,
                        "einsum: label '{}' stands twice in one term of \"{}\", which is not supported", label,
                        equation);
  }
}

Equation parse_equation(std::string_view equation) {
  std::string text(equation);
  std::erase(text, ' ');
  const size_t comma = text.find(',');
  require<ValueError>(comma != std::string::npos,
                      "einsum: \"{}\" has no comma, expected two operands as in \"ij,jk->ik\"", equation);
  const size_t arrow = text.find("->");
  Equation out{
      text.substr(0, comma), text.substr(comma + 1, arrow == std::string::npos ? arrow : arrow - comma - 1), {}};
  check_labels(equation, out.a);
  check_labels(equation, out.b);
  if (arrow != std::string::npos) {
    out.result = text.substr(arrow + 2);
    check_labels(equation, out.result);
    for (const char label : out.result) {
      require<ValueError>((out.a + out.b).find(label) != std::string::npos,
                          "einsum: label '{}' of the result of \"{}\" stands in no operand", label, equation);
    }
    return out;
  }
  for (const char label : out.a + out.b) {
    if ((out.a.find(label) == std::string::npos) != (out.b.find(label) == std::string::npos)) out.result += label;
  }
  std::sort(out.result.begin(), out.result.end());
  return out;
}

bool has(const std::string& labels, char label) { return labels.find(label) != std::string::npos; }

// Labels of `own` that stay until the product, in order; the others are noted as axes to be summed.
std::string remaining_labels(const std::string& own, const std::string& other, const std::string& result,
                             std::vector<int>& summed) {
  std::string left;
  for (size_t axis = 0; axis < own.size(); ++axis) {
    if (has(other, own[axis]) || has(result, own[axis])) {
      left += own[axis];
    } else {
      summed.push_back(static_cast<int>(axis));
    }
  }
  return left;
}

std::vector<int> places_of(const std::string& labels, const std::string& in) {
  std::vector<int> places;
  for (const char label : labels) places.push_back(static_cast<int>(in.find(label)));
  return places;
}

}  // namespace

EinsumPlan::EinsumPlan(std::string_view equation, const Shape& a, const Shape& b) {
  const Equation e = parse_equation(equation);
  require<ShapeError>(static_cast<int>(e.a.size()) == a.rank() && static_cast<int>(e.b.size()) == b.rank(),
                      "einsum: \"{}\" has {} and {} labels, the shapes {} and {} have {} and {} axes", equation,
                      e.a.size(), e.b.size(), a, b, a.rank(), b.rank());
  const auto extent = [&](char label) {
    const size_t at = e.a.find(label);
    return at != std::string::npos ? a[static_cast<int>(at)] : b[static_cast<int>(e.b.find(label))];
  };
  std::string batch, rows, contracted, columns;
  for (size_t axis = 0; axis < e.a.size(); ++axis) {
    const char label = e.a[axis];
    const size_t other = e.b.find(label);
    if (other == std::string::npos) {
      if (has(e.result, label)) rows += label;
      continue;
    }
    require<ShapeError>(a[static_cast<int>(axis)] == b[static_cast<int>(other)],
                        "einsum: label '{}' of \"{}\" is {} in {} and {} in {}; they must be equal", label, equation,
                        a[static_cast<int>(axis)], a, b[static_cast<int>(other)], b);
    (has(e.result, label) ? batch : contracted) += label;
  }
  for (const char label : e.b) {
    if (!has(e.a, label) && has(e.result, label)) columns += label;
  }
  a_order = places_of(batch + rows + contracted, remaining_labels(e.a, e.b, e.result, a_summed));
  b_order = places_of(batch + contracted + columns, remaining_labels(e.b, e.a, e.result, b_summed));
  const auto size = [&](const std::string& labels) {
    int64_t n = 1;
    for (const char label : labels) n *= extent(label);
    return n;
  };
  a_matrix = {size(batch), size(rows), size(contracted)};
  b_matrix = {size(batch), size(contracted), size(columns)};
  for (const char label : batch + rows + columns) product.push_back(extent(label));
  order = places_of(e.result, batch + rows + columns);
}

}  // namespace attune
