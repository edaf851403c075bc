package learn

// The families of the built-in rules, as rules name them.
const (
	familyCredential = "credential"
	familyObjects    = "object-access"
	familyTraffic    = "traffic"
)

// What an honest client looks like. The numbers are about people and programs,
// not about one log.
const (
	// One login in eight is a typing mistake; an address where one in four fails
	// is no office.
	leastPassed = 0.75
	// Programs that know what they ask for get it; people click on dead links.
	leastGood = 0.9
	// Who is there in half of the parts of a log lives here.
	leastPresence = 0.5
)

// Honest reports whether a client looks honest in what rules of a family
// count, although it did more than they allow. why says what speaks for or against
// it. It errs on the side of doubt: an attack in the log must not become what is
// usual.
func (c *Client) Honest(family string) (ok bool, why string) {
	if c.Attacks > 0 && ratio(c.Attacks, c.Requests) > 0.001 {
		return false, "sent requests with payloads of attacks"
	}
	if c.Presence() < leastPresence && !c.returns() {
		return false, "was there in a small part of the log only"
	}
	switch family {
	case familyCredential:
		if n := c.Passed + c.Failed; n == 0 || ratio(c.Passed, n) < leastPassed {
			return false, "most of its logins do not succeed"
		}
		if !c.Shared() {
			return false, "is one program or person, who does not log in so often"
		}
		return true, "its logins succeed, and several people are behind it"
	case familyTraffic, familyObjects:
		if c.GoodShare() < leastGood {
			return false, "too many of its requests are refused or ask for what is not there"
		}
		return true, "its requests give what they ask for, all through the log"
	default:
		return false, "nothing speaks for it"
	}
}

// returns reports whether a client comes at its times: on several days, or again
// and again after about the same time.
func (c *Client) returns() bool {
	const day = 86400
	if c.Last-c.First >= 2*day && c.bursts >= 3 {
		return true
	}
	_, varies, ok := c.Every()
	return ok && c.bursts >= 6 && varies <= 0.25
}
