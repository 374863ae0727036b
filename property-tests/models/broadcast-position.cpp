// A position in two words, as packages/ring/src/broadcast/position.ts: low (3 bits here, 32 there) and era (position / 2 here,
// position / 2 ** 30 there), whose two lowest bits repeat low's two highest. A reader may be stopped for any number of laps.
//
// cursor=0: the write position, with a writer that may be killed anywhere, and its successor. cursor=1: the cursor of a gate, which
// its owners leave and take again further on; the publisher reads it.
#include "command.hpp"

namespace models {

enum Mutant { NOTHING, ERA_READ_ONCE, LOW_BEFORE_ERA, BEHIND_IGNORED, WITHOUT_MARK };
enum Step : Byte { MOVE, E1, E2, E2_LATE, RESTORE, JOIN, MARK, JOIN_ERA, JOIN_LOW, JOINED };
enum ReadStep : Byte { OWNER, L1, L2 };
constexpr Byte REPLACING = 0x80;

struct PositionState {
  Byte low, era, isActive;
  // What the word low says, whole.
  Byte position;
  Step step;
  Byte to, kills, takeovers;
  ReadStep readStep;
  Byte known, lowSeen, eraSeen, isGiven, given;
};

class Position : public PlainStates<PositionState> {
 public:
  static constexpr const char* mutantNames[] = {
      "nothing", "the era is read once", "low is stored before the era", "an era that is one ahead is ignored",
      "a cursor is replaced without a mark",
  };

  Position(std::map<std::string, int> numbers, int mutant)
      : end(numbers["end"]), killsMax(numbers["kills"]), isCursor(numbers["cursor"]), jump(numbers["jump"]), mutant(Mutant(mutant)) {}

  PositionState initial() const {
    PositionState s;
    memset(&s, 0, sizeof s);
    s.isActive = 1;
    s.readStep = isCursor ? OWNER : L1;
    return s;
  }

  template <class Take> void actions(const PositionState& s, Take take) {
    for (int alternative = 0; alternative < 2; alternative++) {
      PositionState n = s;
      if (stepWriter(n, alternative)) take(actionOf(0, n.step), n);
    }
    if (!isCursor && s.kills < killsMax) {
      PositionState n = s;
      n.kills++;
      n.step = RESTORE;
      n.to = 0;
      take(actionOf(0, KILL), n);
    }
    PositionState n = s;
    stepReader(n);
    take(actionOf(1, n.readStep), n);
  }

  bool checkRest(const PositionState& s) {
    PositionState n = s;
    return !stepWriter(n, 0) && !stepWriter(n, 1);
  }

  std::string describe(Byte action, const PositionState& s) const {
    char text[200];
    snprintf(text, sizeof text, "%s %d: position %d, low %d era %d; seen low %d era %d, known %d", peerOf(action) == 0 ? "writer" : "reader", kindOf(action), s.position, s.low, s.era, s.lowSeen, s.eraSeen, s.known);
    return text;
  }

 private:
  const int end, killsMax, isCursor, jump;
  const Mutant mutant;

  void store(PositionState& s, int position) const {
    s.low = Byte(position & 7);
    s.position = Byte(position);
  }

  bool stepWriter(PositionState& s, int alternative) const {
    switch (s.step) {
      case MOVE:
        if (alternative == 1) {
          // The owner leaves, and one takes the gate where the publisher is by then.
          if (!isCursor || s.position + jump > end) return false;
          s.isActive = 0;
          s.to = Byte(s.position + jump);
          s.step = JOIN;
          return true;
        }
        if (s.position + 1 > end) return false;
        s.to = Byte(s.position + 1);
        s.step = mutant == LOW_BEFORE_ERA ? E2 : E1;
        return stepWriter(s, 0);
      case E1:
        s.step = E2;
        if (s.to / 2 == s.position / 2) return stepWriter(s, 0);
        s.era = s.to / 2;
        return true;
      case E2:
        store(s, s.to);
        s.step = mutant == LOW_BEFORE_ERA && s.era != s.to / 2 ? E2_LATE : MOVE;
        if (s.step == MOVE) s.to = 0;
        return true;
      case E2_LATE:
        s.era = s.to / 2;
        s.to = 0;
        s.step = MOVE;
        return true;
      case RESTORE:
        s.step = MOVE;
        s.era = s.position / 2;
        return true;
      case JOIN:
        if (alternative == 1) return false;
        s.step = mutant == WITHOUT_MARK ? JOIN_ERA : MARK;
        return stepWriter(s, 0);
      case MARK:
        if (alternative == 1) return false;
        s.low = REPLACING;
        s.step = JOIN_ERA;
        return true;
      case JOIN_ERA:
        if (alternative == 1) return false;
        s.era = s.to / 2;
        s.step = JOIN_LOW;
        return true;
      case JOIN_LOW:
        if (alternative == 1) return false;
        store(s, s.to);
        s.step = JOINED;
        return true;
      case JOINED:
        if (alternative == 1) return false;
        s.isActive = 1;
        s.to = 0;
        s.step = MOVE;
        return true;
    }
    return false;
  }

  void again(PositionState& s) const {
    s.lowSeen = s.eraSeen = s.given = s.isGiven = 0;
    s.readStep = isCursor ? OWNER : L1;
  }

  void stepReader(PositionState& s) {
    switch (s.readStep) {
      case OWNER:
        if (s.isActive) s.readStep = L1;
        return;
      case L1:
        s.lowSeen = s.low;
        s.given = s.position;
        s.readStep = L2;
        return;
      case L2:
        s.eraSeen = s.era;
        if (s.eraSeen != s.known && mutant != ERA_READ_ONCE) {
          s.known = s.eraSeen;
          s.lowSeen = s.eraSeen = s.given = 0;
          s.readStep = L1;
          return;
        }
        judge(s);
        return;
    }
  }

  void judge(PositionState& s) {
    if (s.lowSeen == REPLACING) {
      // The publisher begins anew.
      if (!isCursor) fail("a position that is none");
      again(s);
      return;
    }
    const int behind = (s.eraSeen - (s.lowSeen >> 1)) & 3;
    const int position = (behind == 1 && mutant != BEHIND_IGNORED ? s.eraSeen - 1 : s.eraSeen) * 2 + (s.lowSeen & 1);
    if (behind > 1) fail("a position was called garbled");
    else if (position != s.given) fail("the position read is not the one of its moment");
    again(s);
  }
};

constexpr const char* Position::mutantNames[];

}  // namespace models

int main(int count, char** words) {
  return models::runCommand<models::Position>(count, words, {{"end", 40}, {"kills", 1}, {"cursor", 0}, {"jump", 9}});
}
