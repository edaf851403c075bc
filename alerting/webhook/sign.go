package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

const keyPrefix = "whsec_"

// signingKey returns the bytes of a secret.
func signingKey(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(text, keyPrefix)
	if !ok {
		if text == "" {
			return nil, errors.New("secret is empty")
		}
		return []byte(text), nil
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) == 0 {
		return nil, fmt.Errorf("secret begins with %s but what follows is no base64", keyPrefix)
	}
	return key, nil
}

// sign returns the value of webhook-signature: one signature a key.
func sign(keys [][]byte, id, timestamp string, payload []byte) string {
	var out []string
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(payload)
		out = append(out, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(out, " ")
}
