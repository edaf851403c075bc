package format

import (
	"fmt"
	"maps"
	"slices"
	"sort"

	"gatewatch/event"
)

// slot is where the value of a JSON key goes.
type slot uint8

const (
	slotNone slot = iota
	slotTime
	slotRequest // a whole request line, or a target alone
	slotMethod
	slotTarget // path and query
	slotPath   // path, perhaps with the query
	slotQuery
	slotScheme
	slotHost
	slotProtocol
	slotStatus
	slotRequestSize
	slotBodySize
	slotDuration
	slotAgent
	slotReferer
	slotForwarded
	slotRequestID
	slotPeer
	slotClient
	slotUser
	slotConsumer
	slotKeyID
	slotToken
	slotSession
	slotLogin
	slotRoute
	slotCount
)

// target says what a key means. Of several keys for one slot the lowest rank
// wins, then the first in the line.
type target struct {
	slot slot
	rank uint8
	unit int64 // of durations: nanoseconds; of times: begin where the request's start is logged
}

const begin = 1

const (
	nano   = 1
	micro  = 1000
	milli  = 1000 * micro
	second = 1000 * milli
)

// Ranks. Users' own aliases come first.
const (
	rankUser = iota
	rankBest
	rankGood
	rankFair
	rankPoor
)

// builtin maps the names that JSON access logs use to what they mean: those
// of nginx's variables, what people call them, and OpenTelemetry's. Names
// that mean different things in different places, such as "duration", whose
// unit nobody knows, are left out.
func builtin() map[string]target {
	return map[string]target{
		"msec":           {slot: slotTime, rank: rankBest},
		"time_iso8601":   {slot: slotTime, rank: rankGood},
		"time_local":     {slot: slotTime, rank: rankGood},
		"@timestamp":     {slot: slotTime, rank: rankGood},
		"timestamp":      {slot: slotTime, rank: rankFair},
		"time":           {slot: slotTime, rank: rankFair},
		"ts":             {slot: slotTime, rank: rankPoor},
		"start_time":     {slot: slotTime, rank: rankPoor, unit: begin},
		"started_at":     {slot: slotTime, rank: rankPoor, unit: begin},
		"request":        {slot: slotRequest, rank: rankBest},
		"request_line":   {slot: slotRequest, rank: rankBest},
		"message":        {slot: slotRequest, rank: rankPoor},
		"request_method": {slot: slotMethod, rank: rankBest},
		"http_method":    {slot: slotMethod, rank: rankGood},
		"method":         {slot: slotMethod, rank: rankFair},
		"verb":           {slot: slotMethod, rank: rankFair},

		"http.request.method":          {slot: slotMethod, rank: rankGood},
		"http.request.method_original": {slot: slotMethod, rank: rankBest},
		"http.method":                  {slot: slotMethod, rank: rankFair},
		"url.original":                 {slot: slotTarget, rank: rankGood},
		"url.full":                     {slot: slotTarget, rank: rankPoor},
		"url.path":                     {slot: slotPath, rank: rankGood},
		"url.query":                    {slot: slotQuery, rank: rankGood},
		"url.scheme":                   {slot: slotScheme, rank: rankGood},
		"url.domain":                   {slot: slotHost, rank: rankFair},
		"http.target":                  {slot: slotTarget, rank: rankFair},
		"http.scheme":                  {slot: slotScheme, rank: rankFair},
		"http.route":                   {slot: slotRoute, rank: rankGood},
		"server.address":               {slot: slotHost, rank: rankGood},
		"network.protocol.version":     {slot: slotProtocol, rank: rankGood},
		"http.flavor":                  {slot: slotProtocol, rank: rankFair},
		"http.version":                 {slot: slotProtocol, rank: rankFair},

		"http.response.status_code":           {slot: slotStatus, rank: rankGood},
		"http.status_code":                    {slot: slotStatus, rank: rankFair},
		"http.request.size":                   {slot: slotRequestSize, rank: rankGood},
		"http.request.body.size":              {slot: slotRequestSize, rank: rankFair},
		"http.request.bytes":                  {slot: slotRequestSize, rank: rankFair},
		"http.response.body.size":             {slot: slotBodySize, rank: rankGood},
		"http.response.body.bytes":            {slot: slotBodySize, rank: rankGood},
		"http.response.size":                  {slot: slotBodySize, rank: rankFair},
		"user_agent.original":                 {slot: slotAgent, rank: rankGood},
		"http.user_agent":                     {slot: slotAgent, rank: rankFair},
		"http.request.header.user-agent":      {slot: slotAgent, rank: rankFair},
		"http.request.header.referer":         {slot: slotReferer, rank: rankGood},
		"http.request.referrer":               {slot: slotReferer, rank: rankFair},
		"http.request.header.x-forwarded-for": {slot: slotForwarded, rank: rankGood},
		"http.request.header.host":            {slot: slotHost, rank: rankFair},
		"http.request.id":                     {slot: slotRequestID, rank: rankGood},
		"network.peer.address":                {slot: slotPeer, rank: rankBest},
		"net.peer.ip":                         {slot: slotPeer, rank: rankFair},
		"source.ip":                           {slot: slotPeer, rank: rankFair},
		"source.address":                      {slot: slotPeer, rank: rankPoor},
		"client.address":                      {slot: slotClient, rank: rankGood},
		"client.ip":                           {slot: slotClient, rank: rankFair},
		"http.client_ip":                      {slot: slotClient, rank: rankFair},
		"user.name":                           {slot: slotUser, rank: rankGood},
		"user.id":                             {slot: slotUser, rank: rankFair},
		"enduser.id":                          {slot: slotUser, rank: rankPoor},
		"event.duration":                      {slot: slotDuration, rank: rankGood, unit: nano},
		"api.consumer.id":                     {slot: slotConsumer, rank: rankGood},
		"api.key.id":                          {slot: slotKeyID, rank: rankGood},
		"http.request.header.authorization":   {slot: slotToken, rank: rankGood},
		"session.id":                          {slot: slotSession, rank: rankGood},

		// The loggers of Kong and APISIX, and Caddy, nest.
		"request.method":                  {slot: slotMethod, rank: rankFair},
		"request.uri":                     {slot: slotTarget, rank: rankFair},
		"request.size":                    {slot: slotRequestSize, rank: rankFair},
		"request.id":                      {slot: slotRequestID, rank: rankFair},
		"request.host":                    {slot: slotHost, rank: rankFair},
		"request.proto":                   {slot: slotProtocol, rank: rankFair},
		"request.remote_ip":               {slot: slotPeer, rank: rankFair},
		"request.client_ip":               {slot: slotClient, rank: rankFair},
		"request.headers.host":            {slot: slotHost, rank: rankPoor},
		"request.headers.user-agent":      {slot: slotAgent, rank: rankFair},
		"request.headers.User-Agent":      {slot: slotAgent, rank: rankFair},
		"request.headers.authorization":   {slot: slotToken, rank: rankFair},
		"request.headers.Authorization":   {slot: slotToken, rank: rankFair},
		"request.headers.referer":         {slot: slotReferer, rank: rankFair},
		"request.headers.Referer":         {slot: slotReferer, rank: rankFair},
		"request.headers.x-forwarded-for": {slot: slotForwarded, rank: rankFair},
		"request.headers.X-Forwarded-For": {slot: slotForwarded, rank: rankFair},
		"response.status":                 {slot: slotStatus, rank: rankFair},
		"response.size":                   {slot: slotBodySize, rank: rankFair},
		"latencies.request":               {slot: slotDuration, rank: rankGood, unit: milli},

		"request_uri":     {slot: slotTarget, rank: rankBest},
		"uri":             {slot: slotPath, rank: rankBest},
		"path":            {slot: slotPath, rank: rankFair},
		"url":             {slot: slotPath, rank: rankPoor},
		"args":            {slot: slotQuery, rank: rankBest},
		"query_string":    {slot: slotQuery, rank: rankBest},
		"query":           {slot: slotQuery, rank: rankPoor},
		"scheme":          {slot: slotScheme, rank: rankBest},
		"host":            {slot: slotHost, rank: rankBest},
		"http_host":       {slot: slotHost, rank: rankGood},
		"server_name":     {slot: slotHost, rank: rankPoor},
		"vhost":           {slot: slotHost, rank: rankFair},
		"site":            {slot: slotHost, rank: rankPoor},
		"domain":          {slot: slotHost, rank: rankPoor},
		"server_protocol": {slot: slotProtocol, rank: rankBest},
		"protocol":        {slot: slotProtocol, rank: rankFair},
		"httpversion":     {slot: slotProtocol, rank: rankFair},
		"http_version":    {slot: slotProtocol, rank: rankFair},

		"status":                  {slot: slotStatus, rank: rankBest},
		"status_code":             {slot: slotStatus, rank: rankGood},
		"response":                {slot: slotStatus, rank: rankPoor},
		"response_code":           {slot: slotStatus, rank: rankGood},
		"request_length":          {slot: slotRequestSize, rank: rankBest},
		"body_bytes_sent":         {slot: slotBodySize, rank: rankBest},
		"bytes_sent":              {slot: slotBodySize, rank: rankFair},
		"bytes":                   {slot: slotBodySize, rank: rankPoor},
		"size":                    {slot: slotBodySize, rank: rankPoor},
		"response_size":           {slot: slotBodySize, rank: rankGood},
		"request_time":            {slot: slotDuration, rank: rankBest, unit: second},
		"time_in_sec":             {slot: slotDuration, rank: rankFair, unit: second},
		"duration_ms":             {slot: slotDuration, rank: rankFair, unit: milli},
		"request_time_ms":         {slot: slotDuration, rank: rankFair, unit: milli},
		"response_time_ms":        {slot: slotDuration, rank: rankFair, unit: milli},
		"latency_ms":              {slot: slotDuration, rank: rankFair, unit: milli},
		"duration_us":             {slot: slotDuration, rank: rankFair, unit: micro},
		"duration_ns":             {slot: slotDuration, rank: rankFair, unit: nano},
		"http_user_agent":         {slot: slotAgent, rank: rankBest},
		"user_agent":              {slot: slotAgent, rank: rankGood},
		"agent":                   {slot: slotAgent, rank: rankPoor},
		"http_referer":            {slot: slotReferer, rank: rankBest},
		"http_referrer":           {slot: slotReferer, rank: rankGood},
		"referer":                 {slot: slotReferer, rank: rankGood},
		"referrer":                {slot: slotReferer, rank: rankGood},
		"http_x_forwarded_for":    {slot: slotForwarded, rank: rankBest},
		"x_forwarded_for":         {slot: slotForwarded, rank: rankGood},
		"x-forwarded-for":         {slot: slotForwarded, rank: rankGood},
		"xff":                     {slot: slotForwarded, rank: rankFair},
		"request_id":              {slot: slotRequestID, rank: rankBest},
		"x_request_id":            {slot: slotRequestID, rank: rankGood},
		"req_id":                  {slot: slotRequestID, rank: rankGood},
		"realip_remote_addr":      {slot: slotPeer, rank: rankPoor},
		"remote_addr":             {slot: slotPeer, rank: rankGood},
		"remote_ip":               {slot: slotPeer, rank: rankFair},
		"remote":                  {slot: slotPeer, rank: rankPoor},
		"clientip":                {slot: slotPeer, rank: rankFair},
		"client_ip":               {slot: slotPeer, rank: rankFair},
		"client":                  {slot: slotPeer, rank: rankPoor},
		"ip":                      {slot: slotPeer, rank: rankPoor},
		"remote_user":             {slot: slotUser, rank: rankBest},
		"user":                    {slot: slotUser, rank: rankFair},
		"username":                {slot: slotUser, rank: rankFair},
		"auth":                    {slot: slotUser, rank: rankPoor},
		"consumer":                {slot: slotConsumer, rank: rankBest},
		"consumer_name":           {slot: slotConsumer, rank: rankGood},
		"consumer_id":             {slot: slotConsumer, rank: rankFair},
		"consumer.username":       {slot: slotConsumer, rank: rankGood},
		"consumer.custom_id":      {slot: slotConsumer, rank: rankFair},
		"consumer.id":             {slot: slotConsumer, rank: rankPoor},
		"authenticated_entity.id": {slot: slotKeyID, rank: rankFair},
		"api_key_id":              {slot: slotKeyID, rank: rankBest},
		"apikey_id":               {slot: slotKeyID, rank: rankGood},
		"authorization":           {slot: slotToken, rank: rankGood},
		"http_authorization":      {slot: slotToken, rank: rankBest},
		"session_id":              {slot: slotSession, rank: rankBest},
		"sessionid":               {slot: slotSession, rank: rankGood},
		"cookie_session":          {slot: slotSession, rank: rankFair},
		"login_name":              {slot: slotLogin, rank: rankBest},
		"login":                   {slot: slotLogin, rank: rankPoor},
		"auth.account":            {slot: slotLogin, rank: rankGood},
	}
}

// fieldSlots maps event fields to slots, for users' aliases.
func fieldSlots() map[event.Field]target {
	return map[event.Field]target{
		event.FieldMethod:         {slot: slotMethod},
		event.FieldMethodOriginal: {slot: slotMethod},
		event.FieldTarget:         {slot: slotTarget},
		event.FieldPath:           {slot: slotPath},
		event.FieldQuery:          {slot: slotQuery},
		event.FieldScheme:         {slot: slotScheme},
		event.FieldHost:           {slot: slotHost},
		event.FieldProtocol:       {slot: slotProtocol},
		event.FieldStatus:         {slot: slotStatus},
		event.FieldRequestSize:    {slot: slotRequestSize},
		event.FieldBodySize:       {slot: slotBodySize},
		event.FieldDuration:       {slot: slotDuration, unit: nano},
		event.FieldDurationMS:     {slot: slotDuration, unit: milli},
		event.FieldUserAgent:      {slot: slotAgent},
		event.FieldReferer:        {slot: slotReferer},
		event.FieldForwardedFor:   {slot: slotForwarded},
		event.FieldRequestID:      {slot: slotRequestID},
		event.FieldPeer:           {slot: slotPeer},
		event.FieldClient:         {slot: slotClient},
		event.FieldUser:           {slot: slotUser},
		event.FieldConsumer:       {slot: slotConsumer},
		event.FieldKeyID:          {slot: slotKeyID},
		event.FieldTokenHash:      {slot: slotToken},
		event.FieldSession:        {slot: slotSession},
		event.FieldAccount:        {slot: slotLogin},
		event.FieldRoute:          {slot: slotRoute},
	}
}

const (
	maxKey     = 96 // bytes of a dotted key; longer ones mean nothing
	maxOrdinal = 64 // keys of a line whose meaning is remembered by place
)

// keyTable finds what a key means. The lines of one log have their keys in
// one order, so the key at the same place of the line before is tried first.
type keyTable struct {
	known map[string]target
	order [maxOrdinal]struct {
		key     []byte
		literal []byte // the key in quotes and its colon; empty where that is not all there is to it
		what    target
	}
}

func newKeyTable(aliases map[string]string) (keyTable, error) {
	t := keyTable{known: builtin()}
	names := make([]string, 0, len(aliases))
	for key := range aliases {
		names = append(names, key)
	}
	sort.Strings(names)
	fields := fieldSlots()
	own := make(map[string]target, len(aliases))
	for _, key := range slices.Sorted(maps.Keys(aliases)) {
		to := aliases[key]
		var what target
		if f, ok := event.Lookup(to); ok {
			what = fields[f]
		}
		if to == "timestamp" {
			what = target{slot: slotTime}
		}
		if what.slot == slotNone {
			what = t.known[to]
		}
		if key == "" || len(key) > maxKey {
			return t, fmt.Errorf("alias %q: a key has 1 to %d bytes", key, maxKey)
		}
		if what.slot == slotNone {
			return t, fmt.Errorf("alias %q: %q is no event field that a log line can fill; write one such as client.address, or timestamp", key, to)
		}
		what.rank = rankUser
		own[key] = what
	}
	maps.Copy(t.known, own)
	return t, nil
}

// find returns what the n-th key of a line means. literal is how it stands in
// the line, where that may serve to know it again.
func (t *keyTable) find(key, literal string, n int) target {
	if len(key) > maxKey {
		return target{}
	}
	if n >= maxOrdinal {
		return t.known[key]
	}
	o := &t.order[n]
	if string(o.key) == key {
		o.literal = append(o.literal[:0], literal...)
		return o.what
	}
	o.literal = append(o.literal[:0], literal...)
	o.key = append(o.key[:0], key...)
	o.what = t.known[key]
	return o.what
}
